package wire

import (
	"context"
	"errors"
	"time"

	"github.com/parley-go/parley/model"
)

// lastWords is how long a provider may explain itself after it took no more.
const lastWords = 250 * time.Millisecond

// LastWords is why a write failed with err: a provider that refuses often says why before it hangs up.
// read takes the next message and makes an error of a refusal; any status counts as one.
func LastWords(err error, read func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	for ctx.Err() == nil {
		said := read(ctx)
		var e *model.Error
		switch {
		case errors.As(said, &e) && e.Kind == model.KindStatus:
			return said
		case said != nil:
			return err
		}
	}
	return err
}
