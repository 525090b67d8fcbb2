package cartesia

import (
	"cmp"
	"context"
	"reflect"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/stt/driver"
)

// whisper implements driver.Stream for ink-whisper.
type whisper struct {
	*input
	to    time.Duration // the end of the last final
	spent time.Duration // audio that finals were about
	last  *heard        // the last final, if nothing came after it
}

// Flush implements driver.Stream.
func (w *whisper) Flush(ctx context.Context) error {
	if err := w.rest(ctx); err != nil {
		return err
	}
	return w.WriteText(ctx, []byte("finalize"))
}

// CloseSend implements driver.Stream.
func (w *whisper) CloseSend(ctx context.Context) error { return w.finish(ctx, "close") }

// Next implements driver.Stream.
func (w *whisper) Next(ctx context.Context) (*driver.Event, error) {
	return w.next(ctx, w.take, w.stop)
}

func (w *whisper) take(m *heard) {
	switch m.Type {
	case "done":
		w.over = true
		w.stop()
	case "transcript":
		if reflect.DeepEqual(w.last, m) {
			return // told already
		}
		w.last = nil
		a := w.alternative(m)
		if a.Text != "" {
			w.start()
		}
		if !m.IsFinal {
			w.tell(driver.Interim, a)
			return
		}
		w.last, w.to, w.spent = m, max(w.to, a.End), w.spent+wire.Seconds(m.Duration)
		w.tell(driver.Final, a)
		w.stop()
	}
}

// back is how far the times of words may lie before the last final.
const back = 250 * time.Millisecond

// alternative translates a transcript, which is about what came after the last final. Times are those
// of the stream, or have been seen to count from that final: they would go back.
func (w *whisper) alternative(m *heard) driver.Alternative {
	a := driver.Alternative{Text: strings.TrimSpace(m.Text), Language: cmp.Or(m.Language, w.language)}
	var from time.Duration
	if len(m.Words) > 0 && wire.Seconds(m.Words[0].Start)+back < w.to {
		from = max(w.to, w.spent)
	}
	for _, x := range m.Words {
		start := from + wire.Seconds(x.Start)
		a.Words = append(a.Words, driver.Word{Text: strings.TrimSpace(x.Word), Start: start, End: max(start, from+wire.Seconds(x.End))})
	}
	if n := len(a.Words); n > 0 {
		a.Start, a.End = a.Words[0].Start, a.Words[n-1].End
	}
	return a
}
