package wire

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/model"
)

func TestLastWordsAreThoseOfARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed, refused := errors.New("write failed"), &model.Error{Kind: model.KindStatus, Status: 401}
		for name, c := range map[string]struct {
			said []error // of the messages
			want error
		}{
			"refusal":        {[]error{nil, refused}, refused},
			"end":            {[]error{nil, &model.Error{Kind: model.KindConnection}}, failed},
			"nothing at all": {nil, failed},
		} {
			got := LastWords(failed, func(ctx context.Context) error {
				if len(c.said) == 0 {
					<-ctx.Done()
					return context.Cause(ctx)
				}
				time.Sleep(time.Millisecond)
				said := c.said[0]
				c.said = c.said[1:]
				return said
			})
			if got != c.want {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	})
}
