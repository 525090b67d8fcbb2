package room

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	lksdk "github.com/livekit/server-sdk-go/v2"
)

// The errors a caller may want to tell apart, with errors.Is.
var (
	// ErrURL says that the address of the server cannot be one: it wants ws, wss, http or https and a host.
	ErrURL = errors.New("bad server URL")
	// ErrToken says that the server refused the token, or that there is none.
	ErrToken = errors.New("token was refused")
	// ErrUnreachable says that no connection to the server came about.
	ErrUnreachable = errors.New("server cannot be reached")
	// ErrDisconnected says that the connection to the room is over.
	ErrDisconnected = errors.New("disconnected from the room")
	// ErrInUse says that another session listens and speaks through the room.
	ErrInUse = errors.New("room is in use by another session")
	// ErrTooLong says that a text is longer than MaxText.
	ErrTooLong = errors.New("text is too long")
)

// checkURL finds the mistakes in an address that the SDK would meet with a retry and a riddle. The
// error shows no query and no password.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("%w: it does not parse", ErrURL)
	}
	switch u.Scheme {
	case "ws", "wss", "http", "https":
	default:
		return fmt.Errorf("%w: scheme %q, want ws or wss", ErrURL, u.Scheme)
	}
	if u.Hostname() == "" {
		return fmt.Errorf("%w: no host in it", ErrURL)
	}
	return nil
}

// joinError turns what the SDK says about a failed join into one line and a kind. The SDK has no
// types for it; a status of the server comes as text.
func joinError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	if strings.HasPrefix(text, "unauthorized") || strings.Contains(text, "invalid token") {
		return fmt.Errorf("%w: %s", ErrToken, text)
	}
	if errors.Is(err, lksdk.ErrConnectionTimeout) {
		return fmt.Errorf("%w: %w", ErrUnreachable, lksdk.ErrConnectionTimeout)
	}
	var u *url.Error
	if errors.As(err, &u) {
		text = u.Err.Error() // without the URL, which carries the whole query
	}
	return fmt.Errorf("%w: %s", ErrUnreachable, text)
}
