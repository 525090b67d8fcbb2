package openai

import "strings"

// languageNames are the names that Whisper has for the languages it detects, and their codes.
const languageNames = "afrikaans af arabic ar armenian hy azerbaijani az belarusian be bosnian bs bulgarian bg cantonese yue " +
	"catalan ca chinese zh croatian hr czech cs danish da dutch nl english en estonian et finnish fi french fr galician gl " +
	"german de greek el hebrew he hindi hi hungarian hu icelandic is indonesian id italian it japanese ja kannada kn " +
	"kazakh kk korean ko latvian lv lithuanian lt macedonian mk malay ms maori mi marathi mr nepali ne norwegian no persian fa " +
	"polish pl portuguese pt romanian ro russian ru serbian sr slovak sk slovenian sl spanish es swahili sw swedish sv " +
	"tagalog tl tamil ta thai th turkish tr ukrainian uk urdu ur vietnamese vi welsh cy"

// codes are the codes by name.
var codes = func() map[string]string {
	m := map[string]string{}
	words := strings.Fields(languageNames)
	for i := 0; i+1 < len(words); i += 2 {
		m[words[i]] = words[i+1]
	}
	return m
}()

// languageCodeOf is the code of a language, or what the service says if that is no name we know.
func languageCodeOf(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	if code := codes[name]; code != "" {
		return code
	}
	return name
}
