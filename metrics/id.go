package metrics

import (
	"math/rand/v2"
	"sync"
)

const (
	idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	idLength   = 16 // times 5 bits: a billion ids in one place clash with a chance of one in a million
	idPrefix   = "me_"
)

// NewID returns prefix followed by 16 random letters and digits. The id is unique, not secret.
func NewID(prefix string) string {
	var a [48]byte
	return string(appendID(append(a[:0], prefix...)))
}

// appendID takes its randomness from the runtime's generator, which is seeded by the system and
// needs neither a lock nor a system call.
func appendID(b []byte) []byte {
	var id [idLength]byte
	lo, hi := rand.Uint64(), rand.Uint64()
	for i := range idLength / 2 {
		id[i], id[i+idLength/2] = idAlphabet[lo&31], idAlphabet[hi&31]
		lo, hi = lo>>5, hi>>5
	}
	return append(b, id[:]...)
}

// idBlock is a string of event ids that are handed out one by one, so that recording an event need
// not allocate its id. They differ in their last letter only, so that 32 of them take the randomness
// of one; two blocks of a billion events clash even less often than single ids would.
type idBlock struct {
	ids  string
	next int
}

var idBlocks = sync.Pool{New: func() any { return new(idBlock) }}

// newEventID returns an id for an event.
func newEventID() string {
	const n = len(idPrefix) + idLength
	b := idBlocks.Get().(*idBlock)
	if b.next == len(b.ids) {
		var one [n]byte
		var all [len(idAlphabet) * n]byte
		id, ids := appendID(append(one[:0], idPrefix...)), all[:0]
		for i := range len(idAlphabet) {
			id[n-1] = idAlphabet[i]
			ids = append(ids, id...)
		}
		b.ids, b.next = string(ids), 0
	}
	id := b.ids[b.next : b.next+n]
	b.next += n
	idBlocks.Put(b)
	return id
}
