package tokenize

import (
	"strings"
	"unicode"
)

// Syllables estimates how many syllables word has: at least 1 for anything spoken, 0 for
// punctuation and markup. It is made for pacing English; for other languages it counts groups of
// vowels, and characters of scripts without spaces count one each.
func Syllables(word string) int {
	if !isSpoken(word) {
		return 0
	}
	n := 0
	var letters []rune
	for _, r := range word {
		switch {
		case isCJK(r) || unicode.IsDigit(r):
			n++
		case unicode.IsLetter(r):
			letters = append(letters, unicode.ToLower(r))
		case r == '-':
			n += latinSyllables(letters)
			letters = letters[:0]
		}
	}
	return max(1, n+latinSyllables(letters))
}

// vowels of Latin, Cyrillic and Greek, with accents.
const vowels = "aeiouyàáâãäåæèéêëìíîïòóôõöøœùúûüýÿāēīōūăąęěőűаеёиоуыэюяіїєαεηιουωάέήίόύώ"

func isVowel(r rune) bool { return strings.ContainsRune(vowels, r) }

func latinSyllables(w []rune) int {
	if len(w) == 0 {
		return 0
	}
	n, before := 0, false
	for _, r := range w {
		v := isVowel(r)
		if v && !before {
			n++
		}
		before = v
	}
	n += hiatuses(string(w)) - silent(string(w))
	return max(n, 1)
}

// hiatuses counts neighbouring vowels that are spoken apart.
func hiatuses(w string) int {
	n := 0
	for _, pair := range []string{"ia", "io", "eo", "iu", "ua"} {
		n += strings.Count(w, pair)
	}
	for _, blend := range []string{"tia", "cia", "sia", "tio", "cio", "sio", "gio", "gia", "xio", "qua", "gua", "eou", "geo", "tiu", "people", "sua"} {
		n -= strings.Count(w, blend)
	}
	return max(n, 0)
}

// silent counts the vowel groups at the end of an English word that are not spoken.
func silent(w string) int {
	before := func(n int) rune {
		if len(w) <= n {
			return 0
		}
		return rune(w[len(w)-n-1])
	}
	consonant := func(r rune) bool { return r >= 'a' && r <= 'z' && !isVowel(r) }
	switch {
	case strings.HasSuffix(w, "le") && consonant(before(2)):
		return 0 // ta-ble
	case strings.HasSuffix(w, "e") && consonant(before(1)):
		return 1 // time
	case strings.HasSuffix(w, "ed") && consonant(before(2)) && before(2) != 't' && before(2) != 'd':
		return 1 // played, but want-ed
	case strings.HasSuffix(w, "es") && consonant(before(2)) && !strings.ContainsRune("sxzcg", before(2)) && !strings.HasSuffix(w, "shes") && !strings.HasSuffix(w, "ches"):
		return 1 // times, but box-es
	}
	return 0
}
