package livekit

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// spent are the quotas that come back only with the next month.
var spent = []string{"MaxGatewayCredits", "MaxBargeInRequests", "MaxEotRequests"}

// quota says which limit a request has met: the gateway tells in headers how much there is and how much
// was used, and in the answer of which kind the limit is.
func quota(status int, h http.Header, body []byte) (more string, permanent bool) {
	if status != http.StatusTooManyRequests {
		return "", false
	}
	var b struct {
		Type     string `json:"type"`
		Hint     string `json:"hint"`
		Category string `json:"category"`
	}
	var list []string
	if json.Unmarshal(body, &b) == nil && b.Type == "inference_quota_exceeded" {
		for _, s := range []string{b.Hint, b.Category} {
			if s != "" {
				list = append(list, s)
			}
		}
		permanent = slices.Contains(spent, b.Category)
	}
	for _, q := range [...][2]string{{"RPM", "requests a minute"}, {"TPM", "tokens a minute"}, {"Credits", "credits"}} {
		used, limit := h.Get("X-LiveKit-Inference-"+q[0]+"-Used"), h.Get("X-LiveKit-Inference-"+q[0]+"-Limit")
		if used != "" || limit != "" {
			list = append(list, q[1]+": "+cmp.Or(used, "?")+" of "+cmp.Or(limit, "?"))
		}
	}
	if len(list) == 0 {
		return "", permanent
	}
	return "(" + strings.Join(list, ", ") + ")", permanent
}
