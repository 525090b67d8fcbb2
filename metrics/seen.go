package metrics

import "strings"

// seen has the ids of events that were applied. It only grows, but a session makes some hundred of them in ten
// minutes (idle events like VAD are not kept). Exact ids, not hashes: a false duplicate would be money lost.
//
// The 32 ids of a block differ in their last letter only, so what most ids take is a bit beside those of their
// block. The map grows a table at a time, so that no single call pays for all.
type seen struct {
	at   map[string]int // in bits, by what the ids of a block share, or by an id of another form
	bits []uint64
}

// whole is the bit of an id of another form; those of a block have the lower ones.
const whole = uint64(1) << 63

// first reports whether id was not given before. An empty id is always new.
func (s *seen) first(id string) bool {
	if id == "" {
		return true
	}
	key, bit := id, whole
	if last := len(idPrefix) + idLength - 1; len(id) == last+1 {
		if i := strings.IndexByte(idAlphabet, id[last]); i >= 0 {
			key, bit = id[:last], 1<<i
		}
	}
	if s.at == nil {
		s.at = make(map[string]int, 32)
	}
	at, known := s.at[key]
	if !known {
		at = len(s.bits)
		s.at[key] = at
		s.bits = append(s.bits, 0)
	}
	before := s.bits[at]
	s.bits[at] |= bit
	return s.bits[at] != before
}
