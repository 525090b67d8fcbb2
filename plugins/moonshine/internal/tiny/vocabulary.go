package tiny

import (
	"fmt"
	"strings"
)

// The tokens with a meaning of their own.
const (
	startToken = 1
	stopToken  = 2
	firstByte  = 3   // of the 256 tokens that stand for one byte each
	firstPiece = 259 // of the pieces of text
	pieceCount = 32000
)

func splitVocabulary(text string) ([]string, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != pieceCount {
		return nil, fmt.Errorf("want %d pieces, found %d", pieceCount, len(lines))
	}
	for i := range firstPiece - firstByte {
		if want := fmt.Sprintf("<0x%02X>", i); lines[firstByte+i] != want {
			return nil, fmt.Errorf("piece %d: want %s, found %.20q", firstByte+i, want, lines[firstByte+i])
		}
	}
	return lines, nil
}

// text joins the pieces of ids. Tokens without text are left out, bytes that are no UTF-8 become
// the replacement character.
func (m *Model) text(ids []int) string {
	var b strings.Builder
	for _, id := range ids {
		switch {
		case id < firstByte || id >= len(m.pieces):
		case id < firstPiece:
			b.WriteByte(byte(id - firstByte))
		default:
			b.WriteString(m.pieces[id])
		}
	}
	// U+2581 stands for a space.
	text := strings.ReplaceAll(strings.ToValidUTF8(b.String(), "\uFFFD"), "\u2581", " ")
	return strings.TrimSpace(text)
}
