// Package lkcloud knows where LiveKit Cloud takes what is observed of sessions, and when it does not want it.
package lkcloud

import (
	"errors"
	"net/url"
	"strings"
	"time"
)

// TokenLife is how long tokens for it are valid.
const TokenLife = 6 * time.Hour

// URL is where it takes what is observed, by LIVEKIT_OBSERVABILITY_URL, if that is not "", or by the URL of the LiveKit
// server; "" for a server that is not LiveKit Cloud.
func URL(override, server string) (string, error) {
	if override != "" {
		u, err := url.Parse(override)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
			return "", errors.New("LIVEKIT_OBSERVABILITY_URL is malformed")
		}
		return strings.TrimRight(override, "/"), nil
	}
	u, err := url.Parse(server)
	if err != nil || !strings.HasSuffix(u.Hostname(), ".livekit.cloud") {
		return "", nil
	}
	return "https://" + u.Host, nil
}

// Unwanted tells whether the answer to a refusal (status 401) is that the project does not want recordings.
func Unwanted(answer []byte) bool {
	text := strings.ToLower(string(answer))
	return strings.Contains(text, "data recording is disabled") || strings.Contains(text, "disabled by owner")
}
