package sandbox

import (
	"encoding/binary"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// perLetter is how long the voice of the sandboxes takes for a character.
const perLetter = 40 * time.Millisecond

// Voice is the audio of a word: a tone, 40 ms for each character, as 16-bit little-endian samples.
func Voice(word string, rate int) []byte {
	n := int(time.Duration(utf8.RuneCountInString(word)) * perLetter * time.Duration(rate) / time.Second)
	b := make([]byte, 0, 2*n)
	for i := range n {
		v := 8000 * math.Sin(2*math.Pi*220*float64(i)/float64(rate))
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(v)))
	}
	return b
}

// Words are the words of text that are complete, and the rest.
func Words(text string) (words []string, rest string) {
	i := strings.LastIndexAny(text, " \n\t")
	if i < 0 {
		return nil, text
	}
	return strings.Fields(text[:i]), text[i+1:]
}
