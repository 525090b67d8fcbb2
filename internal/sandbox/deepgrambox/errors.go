// Package deepgrambox is the sandbox of Deepgram's protocols.
package deepgrambox

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/parley-go/parley/internal/sandbox"
)

// refusal is Deepgram's form of an error.
func refusal(status int, message string) any {
	return map[string]any{"err_code": "Status " + strconv.Itoa(status), "err_msg": message, "request_id": requestID}
}

const requestID = "9d3e8f5a-0000-4000-8000-0000000000d6"

// known refuses calls whose query has what the provider does not know.
func known(c *sandbox.Call, names ...string) bool {
	for k := range c.R.URL.Query() {
		if !slices.Contains(names, k) {
			c.Refuse(400, "unknown query parameter "+k)
			return false
		}
	}
	return true
}

// booleans refuses what is neither true nor false.
func booleans(c *sandbox.Call, names ...string) bool {
	for _, k := range names {
		if v := c.R.URL.Query().Get(k); v != "" && v != "true" && v != "false" {
			c.Refuse(400, k+" is no boolean")
			return false
		}
	}
	return true
}

// rate is the rate of the audio that a websocket will carry.
func rate(q url.Values) (int, error) {
	n, err := strconv.Atoi(q.Get("sample_rate"))
	if err != nil || n < 8000 || n > 48000 || q.Get("encoding") != "linear16" {
		return 0, fmt.Errorf("encoding and sample_rate are needed: have %q and %q", q.Get("encoding"), q.Get("sample_rate"))
	}
	return n, nil
}
