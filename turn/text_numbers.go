package turn

import "strings"

// wish is what the agent asked for.
type wish struct {
	digits  int  // how many digits; 0 if none
	code    bool // a number of unknown length
	date    bool // a date with a year
	email   bool
	address bool
	spelled bool
	yesNo   bool // a question that yes or no answers
	any     bool // a question or request at all
}

// wishOf finds out what the agent's last sentence asked for.
func wishOf(agent string) wish {
	s := lastSentence(agent)
	text := " " + strings.Join(s.words, " ") + " "
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	w := wish{any: s.mark == "?" || has(" please ", " tell me ", " give me ", " need "), yesNo: s.mark == "?" && bareAuxiliary(s.first(0))}
	switch {
	case has("last four"):
		w.digits = 4
	case has(" zip", "postal code", "postcode"):
		w.digits = 5
	case has("card number"):
		w.digits = 16
	case has("social security"):
		w.digits = 9
	case has("phone", "callback", "call back number", "mobile number", "cell number", "number to reach", "reach you"):
		w.digits = 10
	case has(" number ", " code ", " pin "):
		w.code = true
	case has("date of birth", "birthday", "birth date"):
		w.date = true
	case has("email", "e-mail"):
		w.email = true
	case has(" address"):
		w.address = true
	}
	w.spelled = has(" spell ", " spelling ", " spelled ")
	return w
}

// or is what the user announces, if the agent asked for nothing in particular: "my phone number is".
func (w wish) or(s *sentence) wish {
	if w.digits > 0 || w.code || w.date || w.email || w.address || w.spelled {
		return w
	}
	text := strings.Join(s.words, " ")
	switch {
	case strings.Contains(text, "phone number is"):
		w.digits = 10
	case strings.Contains(text, "number is"), strings.Contains(text, "code is"):
		w.code = true
	}
	return w
}

// trailingCode counts the digits and single letters that a sentence ends with.
func (s *sentence) trailingCode() (n int) {
	for i := range s.words {
		w := s.last(i)
		switch {
		case classes[w]&spelledDigit != 0 || len(w) == 1:
			n++
		case writtenDigits(w) > 0:
			n += writtenDigits(w)
		case classes[w]&spelledTeens != 0:
			n += 2
		default:
			return n
		}
	}
	return n
}

// trailingDigits counts the digits that a sentence ends with, spoken or written.
func (s *sentence) trailingDigits() (n int) {
	for i := range s.words {
		w := s.last(i)
		c := classes[w]
		switch {
		case c&spelledDigit != 0:
			n++
			switch s.last(i + 1) {
			case "double":
				n++
			case "triple":
				n += 2
			}
			if classes[s.last(i+1)]&spelledTeens != 0 && strings.HasSuffix(s.last(i+1), "ty") {
				n-- // "forty two" has two digits, not three
			}
		case c&spelledTeens != 0:
			n += 2
		case w == "hundred":
			n += 2
		case w == "thousand":
			n += 3
		case w == "double" || w == "triple":
		case writtenDigits(w) > 0:
			n += writtenDigits(w)
		default:
			return n
		}
	}
	return n
}

// writtenDigits counts the digits of a word that is a number, 0 if it is none.
func writtenDigits(w string) (n int) {
	for _, r := range w {
		switch {
		case r >= '0' && r <= '9':
			n++
		case !strings.ContainsRune("-().+/,#", r):
			return 0
		}
	}
	return n
}

// trailingLetters counts the spelled letters that a sentence ends with.
func (s *sentence) trailingLetters() (n int) {
	if w := s.last(0); strings.Count(w, "-") > 0 && 2*strings.Count(w, "-")+1 == len(w) {
		return strings.Count(w, "-") + 1
	}
	for i := range s.words {
		if w := s.last(i); len(w) != 1 || w[0] < 'a' || w[0] > 'z' {
			return n
		}
		n++
	}
	return n
}

// hasYear reports whether a date is complete.
func (s *sentence) hasYear() bool {
	for i, w := range s.words {
		if d := writtenDigits(w); d == 4 || d >= 6 || strings.Count(w, "/") == 2 {
			return true
		}
		if (w == "nineteen" || w == "twenty" || w == "thousand") && i < s.n()-1 && s.count(month) > 0 && i > 1 {
			return true
		}
	}
	return false
}

// hasAddress reports whether a mail address is complete.
func (s *sentence) hasAddress() bool {
	if strings.Contains(s.last(0), "@") && strings.Contains(s.last(0), ".") {
		return true
	}
	switch s.last(0) {
	case "com", "net", "org", "edu", "io", "uk", "de", "co", "gov":
		return s.last(1) == "dot"
	}
	return false
}
