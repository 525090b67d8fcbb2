package bill

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

var errNumber = errors.New("it is not a number")

// parseNumber reads a number as people write them: with thousands separators (commas, spaces,
// apostrophes, underscores), a currency, a minus or brackets. With comma the comma is the decimal one and dots are
// thousands separators.
func parseNumber(s string, comma bool) (*big.Rat, error) {
	s, minus := unsigned(strings.TrimSpace(s))
	s, again := unsigned(withoutCurrency(s))
	if s == "" || len(s) > 60 || minus && again {
		return nil, errNumber
	}
	point, group := ".", ","
	if comma {
		point, group = ",", "."
	}
	s, exp, scientific := strings.Cut(strings.ToLower(s), "e")
	if n, err := strconv.Atoi(exp); scientific && (err != nil || n < -30 || n > 30) {
		return nil, errNumber
	}
	whole, frac, dot := strings.Cut(s, point)
	whole, ok := withoutGroups(whole, group)
	if !ok || dot && !digits(frac) {
		return nil, errNumber
	}
	text := whole
	if dot {
		text += "." + frac
	}
	if scientific {
		text += "e" + exp
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, errNumber
	}
	if minus || again {
		r.Neg(r)
	}
	return r, nil
}

// unsigned takes a sign, or brackets, which are a minus, off.
func unsigned(s string) (string, bool) {
	if t, ok := strings.CutPrefix(s, "("); ok && strings.HasSuffix(t, ")") {
		return strings.TrimSuffix(t, ")"), true
	}
	if t, ok := strings.CutPrefix(s, "-"); ok {
		return t, true
	}
	if t, ok := strings.CutPrefix(s, "\u2212"); ok {
		return t, true
	}
	return strings.TrimPrefix(s, "+"), false
}

// withoutCurrency takes a sign of a currency, or its three letters, off either end.
func withoutCurrency(s string) string {
	isSign := func(r rune) bool { return unicode.Is(unicode.Sc, r) || unicode.IsSpace(r) }
	s = strings.TrimFunc(s, isSign)
	if n := len(s); n > 3 && letters(s[:3]) {
		s = s[3:]
	} else if n > 3 && letters(s[n-3:]) {
		s = s[:n-3]
	}
	return strings.TrimFunc(s, isSign)
}

func letters(s string) bool { return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" }

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// withoutGroups takes thousands separators out of a whole number. They must be where such are, in threes
// or, as in India, in twos before the last three: otherwise it may be a decimal comma.
func withoutGroups(s, group string) (string, bool) {
	for _, space := range []string{"\u00a0", "\u202f", "\u2009"} {
		s = strings.ReplaceAll(s, space, " ")
	}
	s = strings.ReplaceAll(s, "\u2019", "'")
	for _, sep := range []string{group, " ", "'", "_"} {
		if strings.Contains(s, sep) {
			group = sep
			break
		}
	}
	parts := strings.Split(s, group)
	for i, p := range parts {
		n := len(p)
		switch last := i == len(parts)-1; {
		case !digits(p), i > 0 && last && n != 3, i > 0 && !last && n != 3 && n != 2, i == 0 && !last && n > 3:
			return "", false
		}
	}
	return strings.Join(parts, ""), true
}
