// Package elevenlabsbox is the sandbox of ElevenLabs' protocols.
package elevenlabsbox

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/parley-go/parley/internal/sandbox"
)

// refusal is ElevenLabs' form of an error.
func refusal(status int, message string) any {
	return map[string]any{"detail": map[string]any{"status": "status_" + strconv.Itoa(status), "message": message}}
}

// authorized checks the key.
func authorized(c *sandbox.Call) bool { return c.Authorized("Xi-Api-Key", "") }

// known refuses calls whose query has what the provider does not know, or booleans that are none.
func known(c *sandbox.Call, q url.Values, booleans, others []string) bool {
	for k, v := range q {
		switch {
		case slices.Contains(booleans, k):
			if v[0] == "true" || v[0] == "false" {
				continue
			}
			c.Refuse(422, k+" is no boolean")
		case slices.Contains(others, k):
			continue
		default:
			c.Refuse(422, "unknown parameter "+k)
		}
		return false
	}
	return true
}

// pcmRate is the rate of a format such as "pcm_24000"; 0 for any other.
func pcmRate(format string, rates ...int) int {
	n, err := strconv.Atoi(strings.TrimPrefix(format, "pcm_"))
	if err != nil || !strings.HasPrefix(format, "pcm_") || !slices.Contains(rates, n) {
		return 0
	}
	return n
}
