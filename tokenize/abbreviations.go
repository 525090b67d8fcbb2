package tokenize

import (
	"strings"
	"unicode"
)

// wordClass says what a period after a word means.
type wordClass int

const (
	ordinary wordClass = iota // the period ends the sentence
	never                     // it never does: "Dr.", "e.g."
	numeric                   // it does not before a number: "No. 5"
	nameLike                  // it does only before a word that often starts one: "Inc.", "U.S."
	unitLike                  // it does before a capital letter: "p.m.", "etc."
)

func wordSet(words string) map[string]bool {
	set := make(map[string]bool)
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

var (
	titles = wordSet(`Dr Drs Mr Mrs Ms Mx Prof Rev Hon Gen Sen Rep Gov Pres Lt Col Capt Cmdr Cpl
		Sgt Maj Adm Msgr Fr Mme Mlle Messrs Supt Insp Herr Hr Sra Srta`)
	latin     = wordSet(`e.g i.e eg ie vs cf viz z.b d.h p.ej`)
	numbered  = wordSet(`no nos nr vol vols pp p fig figs ch sec sect art eq ver v par`)
	companies = wordSet(`inc ltd co corp bros llc jr sr st ave blvd rd hwy dept univ assn ph.d al`)
	calendar  = wordSet(`Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Mon Tue Tues Wed Thu Thur
		Thurs Fri`)
	units = wordSet(`etc a.m p.m b.c a.d approx est min max avg temp tel ext ref misc incl excl resp
		lb lbs oz ft hr hrs mins secs yr yrs`)

	// starters often begin a sentence and are hardly ever part of a name.
	starters = wordSet(`The A An I I'm I'll I'd I've It It's Its He He's She She's We We're We'll You
		You're They They're This That That's These Those There There's Here Here's What When Where Why
		Who How Which Then But And So Or If In On At As For After Before While However Also Please
		Would Could Should Can Do Does Did Is Are Was Were Will Has Have Not No Yes My Your Our His
		Her Their Let Let's Now Just Today Tomorrow Thanks Thank Sure Okay Ok`)

	// afterTime may follow a time of day in the same sentence.
	afterTime = wordSet(`Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February
		March April May June July August September October November December Jan Feb Mar Apr Jun Jul
		Aug Sep Sept Oct Nov Dec EST EDT CST CDT MST MDT PST PDT ET CT MT PT UTC GMT BST CET CEST`)
)

// classify says what a period after word means; word is without the period.
func classify(word string) wordClass {
	low := strings.ToLower(word)
	capital := low != word
	switch {
	case capital && titles[upperFirst(low)], latin[low]:
		return never
	case numbered[low]:
		return numeric
	case units[low]:
		return unitLike
	case companies[low], capital && calendar[upperFirst(low)], isInitials(word):
		return nameLike
	}
	return ordinary
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// isInitials reports whether word is a letter or letters with periods between them: J, U.S, a.k.a.
func isInitials(word string) bool {
	n := 0
	for i, r := range []rune(word) {
		if i%2 == 0 && !unicode.IsLetter(r) || i%2 == 1 && r != '.' {
			return false
		}
		if i == 0 && len(word) == 1 && !unicode.IsUpper(r) {
			return false
		}
		n++
	}
	return n%2 == 1
}
