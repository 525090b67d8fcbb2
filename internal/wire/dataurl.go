package wire

import (
	"encoding/base64"
	"strings"
)

// DataURL splits a data URL with base64 data into its media type and that data, still in base64; false
// for any other URL.
func DataURL(url string) (mime, data string, ok bool) {
	rest, ok := strings.CutPrefix(url, "data:")
	if !ok {
		return "", "", false
	}
	head, data, ok := strings.Cut(rest, ",")
	mime, base64ed := strings.CutSuffix(head, ";base64")
	if !ok || !base64ed {
		return "", "", false
	}
	if _, err := base64.StdEncoding.DecodeString(data); err != nil {
		return "", "", false
	}
	mime, _, _ = strings.Cut(mime, ";")
	return mime, data, true
}
