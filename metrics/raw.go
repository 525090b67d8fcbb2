package metrics

import (
	"bytes"
	"encoding/json"
)

// MaxRaw is the most a Raw holds, in bytes.
const MaxRaw = 4 << 10

// Raw is the usage of an event in the provider's own words: JSON, or empty when the provider states
// nothing, or more than MaxRaw. The numbers of the event are made of it; nothing else reads it.
type Raw string

// RawOf keeps what a provider wrote, without white space. It is empty for what is null, no JSON, or too
// large.
func RawOf(doc []byte) Raw {
	doc = bytes.TrimSpace(doc)
	if len(doc) == 0 || len(doc) > 4*MaxRaw || string(doc) == "null" {
		return ""
	}
	var flat, b bytes.Buffer
	if json.Compact(&flat, doc) != nil {
		return ""
	}
	json.HTMLEscape(&b, flat.Bytes()) // as package json does, so that it reads the same from everywhere
	return bounded(b.String())
}

// JoinRaw is the Raw of several requests that one event is about: an array of what was stated, in order;
// the statement itself if there is only one. What would be too large is empty.
func JoinRaw(list ...Raw) Raw {
	var all []byte
	var last Raw
	n := 0
	for _, r := range list {
		if r == "" {
			continue
		}
		n++
		last = r
		all = append(append(all, ','), r...)
	}
	if n < 2 {
		return last
	}
	all[0] = '['
	return bounded(string(append(all, ']')))
}

func bounded(s string) Raw {
	if len(s) > MaxRaw {
		return ""
	}
	return Raw(s)
}

// MarshalJSON implements json.Marshaler.
func (r Raw) MarshalJSON() ([]byte, error) {
	if r == "" {
		return []byte("null"), nil
	}
	return []byte(r), nil
}
