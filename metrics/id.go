package metrics

import (
	"math/rand/v2"
	"sync"
)

const (
	idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	idLength   = 16 // times 5 bits: a billion ids in one place clash with a chance of one in a million
	idPrefix   = "me_"
	idBatch    = 32
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

// idBlock is a string of idBatch event ids that are handed out one by one, so that recording an
// event need not allocate its id.
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
		var a [idBatch * n]byte
		buf := a[:0]
		for range idBatch {
			buf = appendID(append(buf, idPrefix...))
		}
		b.ids, b.next = string(buf), 0
	}
	id := b.ids[b.next : b.next+n]
	b.next += n
	idBlocks.Put(b)
	return id
}
