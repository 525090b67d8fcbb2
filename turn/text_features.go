package turn

import "strings"

// The features of an utterance.
const (
	always = iota
	hasStop
	hasQuestionMark
	hasExclamation
	hasComma
	hasDots
	lacksMark // though the recogniser writes them
	endsConjunction
	endsPreposition
	endsStranded // a question may end with its preposition: "what is it for"
	endsParticle
	endsPhrasal // a particle behind its verb: "log in"
	endsDeterminer
	endsFiller
	endsAuxiliary
	endsShortAnswer // "yes I did"
	endsSubject
	endsObject
	endsTransitive
	endsActing // "to change"
	endsGiving // "tell me"
	endsDegree
	endsAsking
	endsClosing
	endsAttribute
	endsAnnouncing
	endsRepeated
	endsOpenQuestion // "how do I", "what time do you"
	isWholePhrase
	isOnlyFillers
	isEmpty
	beginsQuestion
	beginsCommand
	beginsOpener // and no main clause follows
	bareSubject  // "my flight": a noun phrase that nobody asked for
	answers      // few words to a question, with an end that is none of the above
	answersYesNo
	isClause // somebody does something, and the end is not open
	noVerb
	digitsShort
	digitsFull
	digitsCode
	digitsLoose
	dateShort
	dateFull
	emailShort
	emailFull
	addressShort
	spellShort
	spellFull
	oneWord
	twoWords
	manyWords
	numFeatures
)

// openEnd are the words that an utterance seldom ends with.
const openEnd = conjunction | preposition | determiner | filler | subject | degree | attribute

// features finds out what an utterance is like.
func features(agent, user string) (f findings) {
	s, w := lastSentence(user), wishOf(agent)
	f[always] = true
	f[isEmpty] = s.n() == 0
	f[hasStop] = s.mark == "."
	f[hasQuestionMark] = s.mark == "?"
	f[hasExclamation] = s.mark == "!"
	f[hasComma] = s.mark == ","
	f[hasDots] = s.mark == "..." || s.mark == "-"
	f[lacksMark] = s.mark == "" && s.styled && s.n() > 2
	f[oneWord] = s.n() == 1
	f[twoWords] = s.n() == 2
	f[manyWords] = s.n() >= 5
	f[isWholePhrase] = s.isWhole(whole)
	f[isOnlyFillers] = s.n() > 0 && s.count(filler) == s.n()
	f.numbers(&s, w.or(&s))
	if f[isWholePhrase] || f[digitsFull] || f[digitsShort] || f[digitsCode] || f[dateShort] || f[emailShort] ||
		f[addressShort] || f[spellFull] || f[spellShort] {
		return f // what the words look like otherwise says nothing more
	}
	f.ending(&s, w)
	f.beginning(&s, w)
	return f
}

// ending looks at the last words.
func (f *findings) ending(s *sentence, w wish) {
	asks := s.firstIs(0, asking) || s.firstIs(1, asking)
	shortAnswer := s.n() <= 4 && s.lastIs(1, subject|object) && bareAuxiliary(s.last(0)) &&
		(w.yesNo || yesOrNo(s.first(0)) && s.n() > 2) || s.last(0) == "not" && yesOrNo(s.first(0))
	stranded := asks && s.n() >= 3 && s.lastIs(0, preposition) && s.count(auxiliary) > 0 && s.last(0) != "of" && s.last(0) != "between"
	f[endsShortAnswer] = shortAnswer
	f[endsStranded] = stranded
	f[endsConjunction] = s.lastIs(0, conjunction) && !s.lastIs(0, object)
	f[endsPreposition] = s.lastIs(0, preposition) && !stranded && !s.lastIs(0, particle)
	f[endsPhrasal] = s.lastIs(0, particle) && (s.lastIs(1, verb|command|auxiliary) || s.lastIs(2, command)) &&
		(s.last(0) != "in" || s.last(1) == "log" || s.last(1) == "sign" || s.last(1) == "come")
	f[endsParticle] = s.lastIs(0, particle) && !f[endsPhrasal]
	f[endsDeterminer] = s.lastIs(0, determiner)
	f[endsFiller] = s.lastIs(0, filler)
	todo := asks && s.n() >= 4 && s.last(0) == "do" && s.lastIs(1, subject|object) // "what should I do"
	f[endsAuxiliary] = s.lastIs(0, auxiliary) && !shortAnswer && !todo
	f[endsSubject] = s.lastIs(0, subject)
	f[endsObject] = s.lastIs(0, object) && s.n() > 1
	f[endsTransitive] = s.lastIs(0, transitive) && !shortAnswer && !(asks && s.n() >= 4)
	f[endsActing] = s.lastIs(0, acting) && (s.last(1) == "to" || s.lastIs(1, subject) || s.last(1) == "you")
	f[endsGiving] = s.lastIs(1, giving) && s.lastIs(0, object) && s.last(0) != "it" || s.lastIs(0, giving) && s.n() <= 2
	f[endsDegree] = s.lastIs(0, degree)
	f[endsAsking] = s.lastIs(0, asking) && s.n() > 1
	f[endsClosing] = s.lastIs(0, closing) && !s.lastIs(1, auxiliary)
	f[endsAttribute] = s.lastIs(0, attribute) && (s.lastIs(1, determiner) || s.n() == 1)
	f[endsAnnouncing] = s.endsWith(announcing)
	f[endsRepeated] = s.n() > 1 && s.last(0) == s.last(1) && s.trailingDigits() == 0
	f[endsOpenQuestion] = s.lastIs(1, auxiliary) && s.lastIs(0, subject|object) && s.last(0) != "me" &&
		(asks && s.n() > 3 || s.firstIs(0, auxiliary) && s.n() == 2 || s.last(0) == "i")
}

// yesOrNo reports whether a word may begin an answer such as "yes I do".
func yesOrNo(w string) bool {
	switch w {
	case "yes", "yeah", "yep", "no", "nope", "okay", "ok", "sure":
		return true
	}
	return false
}

// bareAuxiliary reports whether a word is an auxiliary without its subject, which can end an answer
// or begin a question: "do", but not "I'm".
func bareAuxiliary(w string) bool {
	switch w {
	case "do", "don't", "did", "didn't", "does", "doesn't", "is", "isn't", "am", "are", "aren't", "was", "were", "have",
		"haven't", "has", "can", "can't", "could", "will", "won't", "would", "should", "shall", "may", "not":
		return true
	}
	return false
}

// beginning looks at the first words and at the sentence as an answer.
func (f *findings) beginning(s *sentence, w wish) {
	open := s.lastIs(0, openEnd) && !f[endsShortAnswer] && !f[endsStranded] || f[endsAuxiliary] || f[endsTransitive] || f[endsActing] || f[endsOpenQuestion] || f[endsAnnouncing] || f[endsGiving] || s.n() == 0
	f[beginsQuestion] = (s.firstIs(0, asking) || bareAuxiliary(s.first(0)) && s.firstIs(1, subject|object|determiner)) && s.n() >= 3 && !open
	f[beginsCommand] = s.firstIs(0, command) && s.n() >= 2 && !open
	i := 0
	for i < s.n()-1 && s.firstIs(i, conjunction|filler|affirmation) && !s.firstIs(i, opener) {
		i++
	}
	f[beginsOpener] = s.firstIs(i, opener) && !w.any && !s.commaIn && s.count(subject|object)+s.count(determiner) < 3 && s.n() <= 6
	verbs := s.count(verb|auxiliary|transitive|giving|command) > 0
	someone := s.firstIs(i, subject|object|determiner) || strings.Contains(s.first(i), "'") || s.firstIs(i+1, subject)
	f[isClause] = verbs && someone && !open && !s.lastIs(0, particle|determiner) && !f[beginsOpener] && s.n()-i >= 2
	f[noVerb] = !verbs && !w.any && !f[digitsLoose]
	f[bareSubject] = s.firstIs(0, determiner) && !verbs && !w.any
	f[answers] = w.any && !open && s.n() <= 4 && !s.lastIs(0, particle)
	f[answersYesNo] = w.yesNo && s.firstIs(0, affirmation) && !open
}

// numbers looks at digits, dates, addresses and spelled words.
func (f *findings) numbers(s *sentence, w wish) {
	n := s.trailingDigits()
	letters := s.trailingLetters()
	switch {
	case w.digits > 0 && n > 0:
		f[digitsFull], f[digitsShort] = n >= w.digits, n < w.digits
	case w.code && s.trailingCode() > 0:
		f[digitsCode] = s.trailingCode() < 4
		f[digitsFull] = s.trailingCode() >= 4
	case w.digits == 0 && !w.any && n >= 2 && s.lastIs(0, spelledDigit) && s.lastIs(1, spelledDigit):
		f[digitsLoose] = n < 7
	}
	if w.date && s.n() > 0 && (s.count(month) > 0 || n > 0) {
		f[dateFull], f[dateShort] = s.hasYear(), !s.hasYear()
	}
	if w.email && s.n() > 0 {
		f[emailFull], f[emailShort] = s.hasAddress(), !s.hasAddress()
	}
	f[addressShort] = w.address && n > 0
	if letters > 0 && !w.code && (w.spelled || letters >= 3) {
		f[spellFull], f[spellShort] = letters >= 4, letters < 4
	}
}
