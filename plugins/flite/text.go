package flite

import (
	"regexp"
	"strings"
	"unicode"
)

// cleanUp turns text into the ASCII that flite reads well: signs into words, accents into plain
// letters, dashes into pauses. It is empty if there is nothing to say; lost tells that there was,
// but in a script that flite cannot speak.
func cleanUp(text string) (clean string, lost bool) {
	for _, rule := range rules {
		text = rule.find.ReplaceAllString(text, rule.put)
	}
	var b strings.Builder
	spoken := false
	for _, r := range text {
		s, known := ascii(r)
		if !known && (unicode.IsLetter(r) || unicode.IsNumber(r)) {
			lost = true
		}
		for i := range len(s) {
			c := s[i]
			spoken = spoken || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
		}
		b.WriteString(s)
	}
	if !spoken {
		return "", lost
	}
	return strings.TrimLeft(strings.Join(strings.Fields(b.String()), " "), "-,;:!? "), false
}

// ascii returns how a character is written in ASCII; known is false if it is dropped.
func ascii(r rune) (s string, known bool) {
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return " ", true
	case r < ' ' || r == 0x7F:
		return "", false
	case r < 0x7F:
		if s, ok := signs[r]; ok {
			return s, true
		}
		return string(r), true
	case r >= 0xFF01 && r <= 0xFF5E: // full-width forms
		return ascii(r - 0xFF01 + '!')
	case unicode.IsSpace(r):
		return " ", true
	}
	if s, ok := signs[r]; ok {
		return s, true
	}
	s, ok := plain[r]
	return s, ok
}

// signs are spoken as words or heard as pauses.
var signs = map[rune]string{
	'&': " and ", '@': " at ", '+': " plus ", '=': " equals ", '#': " number ", '<': " less than ", '>': " greater than ",
	'*': " ", '_': " ", '~': " ", '^': " ", '|': ", ", '\\': " ", '`': "'", '{': " ", '}': " ", '[': " ", ']': " ",
	'‘': "'", '’': "'", '‚': "'", '‛': "'", '′': "'", '“': "\"", '”': "\"", '„': "\"", '«': "\"", '»': "\"", '‹': "\"", '›': "\"", '″': "\"",
	'‐': "-", '‑': "-", '–': ", ", '—': ", ", '―': ", ", '−': " minus ", '…': "... ",
	'•': ", ", '·': " ", '、': ", ", '，': ", ", '。': ". ", '；': "; ", '：': ": ", '！': "! ", '？': "? ", '¿': "", '¡': "",
	'€': " euros ", '£': " pounds ", '¥': " yen ", '₹': " rupees ", '¢': " cents ", '₽': " roubles ", '₩': " won ", '₿': " bitcoin ", '₺': " lira ", '₴': " hryvnia ",
	'°': " degrees ", '×': " times ", '÷': " divided by ", '±': " plus or minus ", '√': " square root of ", '≈': " about ", '≠': " is not equal to ",
	'≤': " at most ", '≥': " at least ", '∞': " infinity ", '→': " to ", '←': " from ", '½': " one half ", '¼': " one quarter ", '¾': " three quarters ",
	'⅓': " one third ", '⅔': " two thirds ", '²': " squared ", '³': " cubed ", '¹': " ", 'µ': " micro", 'μ': " micro", 'π': " pi ", 'Ω': " ohms ",
	'№': " number ", '§': " section ", '¶': " ", '©': " ", '®': " ", '™': " ", '†': " ", '‰': " per thousand ",
}

// plain are letters without their accents.
var plain = plainLetters(`aàáâãåāăąǎ AÀÁÂÃÅĀĂĄǍ bḃ cçćĉċč CÇĆĈĊČ dďđð DĎĐÐ eèéêëēĕėęěẽ EÈÉÊËĒĔĖĘĚẼ
	gĝğġģ GĜĞĠĢ hĥħ HĤĦ iìíîïĩīĭįıǐ IÌÍÎÏĨĪĬĮİǏ jĵ JĴ kķ KĶ lĺļľŀł LĹĻĽĿŁ nñńņňŋ NÑŃŅŇŊ
	oòóôõøōŏőǒọ OÒÓÔÕØŌŎŐǑỌ rŕŗř RŔŖŘ sśŝşšș SŚŜŞŠȘ tţťŧț TŢŤŦȚ uùúûũūŭůűųǔ UÙÚÛŨŪŬŮŰŲǓ wŵ WŴ
	yýÿŷ YÝŸŶ zźżž ZŹŻŽ`, map[rune]string{
	'ä': "ae", 'ö': "oe", 'ü': "ue", 'Ä': "Ae", 'Ö': "Oe", 'Ü': "Ue", 'ß': "ss", 'æ': "ae", 'Æ': "Ae", 'œ': "oe", 'Œ': "Oe",
	'þ': "th", 'Þ': "Th", 'ĳ': "ij", 'Ĳ': "IJ", 'ﬁ': "fi", 'ﬂ': "fl", 'ﬀ': "ff", 'ª': "a", 'º': "o",
})

// plainLetters adds to table words of one plain letter and its accented forms.
func plainLetters(words string, table map[rune]string) map[rune]string {
	for word := range strings.FieldsSeq(words) {
		runes := []rune(word)
		for _, r := range runes[1:] {
			table[r] = string(runes[0])
		}
	}
	return table
}

// rules are applied before single characters are replaced, in this order.
var rules = makeRules(
	`<(/?[A-Za-z][^<>]{0,150})>`, " ", // markup
	`([A-Za-z])\p{Mn}+`, "$1", // accents that follow their letter
	// amounts: the sign goes behind the number, "€5 million" -> "5 million euros"
	`([€£¥₹₽₩₿₺₴])\s?(\d+(?:,\d{3})*(?:\.\d+)?(?:\s(?:thousand|million|billion|trillion))?)`, "$2 $1",
	`\b(0*1) ?€(\D|$)`, "$1 euro $2",
	`\b(0*1) ?£(\D|$)`, "$1 pound $2",
	`\$(\D|$)`, " dollars $1", // flite knows amounts in dollars
	`(\d)\s?°\s?C\b`, "$1 degrees Celsius",
	`(\d)\s?°\s?F\b`, "$1 degrees Fahrenheit",
	`(\d)\s?([½¼¾⅓⅔])`, "$1 and $2",
	`(\d)\s?[–—]\s?(\d)`, "$1 to $2", // a range
	`(^|\s)-(\s|$)`, "$1, $2", // a dash, not a hyphen
	`--+`, ", ",
	`([A-Za-z0-9])\.([a-z]{2})`, "$1 dot $2", // an address
	`#([^\d]|$)`, " hash $1",
	`(^|\s)e\.g\.`, "$1 for example",
	`(^|\s)i\.e\.`, "$1 that is",
	`(^|[^0-9])-(\d)`, "$1 minus $2",
	`([a-zA-Z]) minus (\d)`, "$1-$2", // covid-19
)

type rule struct {
	find *regexp.Regexp
	put  string
}

// makeRules takes patterns and what to put in their place, in turn.
func makeRules(pairs ...string) []rule {
	var list []rule
	for i := 0; i+1 < len(pairs); i += 2 {
		put := regexp.MustCompile(`\$(\d)`).ReplaceAllString(pairs[i+1], "$${$1}")
		list = append(list, rule{regexp.MustCompile(pairs[i]), put})
	}
	return list
}
