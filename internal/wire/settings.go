package wire

import (
	"fmt"
	"net/url"
	"os"
	"strings"
)

// Key is the option, or the first of the environment variables that is set. The error names the
// option and the variables.
func Key(plugin, option, value string, env ...string) (string, error) {
	if value != "" {
		return value, nil
	}
	for _, name := range env {
		if v := strings.TrimSpace(os.Getenv(name)); v != "" {
			return v, nil
		}
	}
	return "", fmt.Errorf("%s: no API key: set %s or %s", plugin, option, strings.Join(env, " or "))
}

// Base is the option, the first of the environment variables that is set, or def, as a URL without a
// slash at its end. The error names what is wrong but not the value, which may hold a key.
func Base(plugin, value, def string, env ...string) (*url.URL, error) {
	for _, name := range env {
		if value == "" {
			value = strings.TrimSpace(os.Getenv(name))
		}
	}
	if value == "" {
		value = def
	}
	u, err := url.Parse(strings.TrimRight(value, "/"))
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%s: the base URL is malformed: want scheme://host/path", plugin)
	}
	switch u.Scheme {
	case "http", "https", "ws", "wss":
		return u, nil
	}
	return nil, fmt.Errorf("%s: the base URL has scheme %q: want http, https, ws or wss", plugin, u.Scheme)
}

// Join is base with path behind its own and query, if any, for an HTTP request.
func Join(base *url.URL, path string, query url.Values) string {
	return join(base, path, query, "http")
}

// JoinSocket is Join for a websocket.
func JoinSocket(base *url.URL, path string, query url.Values) string {
	return join(base, path, query, "ws")
}

func join(base *url.URL, path string, query url.Values, scheme string) string {
	u := *base
	u.Path = strings.TrimRight(u.Path, "/") + path
	u.RawPath = ""
	if len(query) > 0 {
		q := u.Query()
		for k, vs := range query {
			q[k] = vs
		}
		u.RawQuery = q.Encode()
	}
	if u.Scheme == "https" || u.Scheme == "wss" {
		scheme += "s"
	}
	u.Scheme = scheme
	return u.String()
}
