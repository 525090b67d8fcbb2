package cartesia

import (
	"context"
	"strings"

	"github.com/parley-go/parley/stt/driver"
)

// turns implements driver.Stream for ink-2.
type turns struct {
	*input
	text string // of the present turn
}

// Flush implements driver.Stream: the model decides when a turn is over.
func (*turns) Flush(context.Context) error { return nil }

// CloseSend implements driver.Stream.
func (t *turns) CloseSend(ctx context.Context) error { return t.finish(ctx, `{"type":"close"}`) }

// Next implements driver.Stream.
func (t *turns) Next(ctx context.Context) (*driver.Event, error) {
	return t.next(ctx, t.take, t.end)
}

func (t *turns) take(m *heard) {
	text := strings.TrimSpace(m.Transcript)
	fresh := text != "" && text != t.text
	if m.Type != "turn.start" && !t.speaking {
		return // of a turn that is over
	}
	if fresh {
		t.text = text
	}
	switch m.Type {
	case "turn.start":
		t.start()
	case "turn.update":
		if fresh { // the same once more would take back what was told as probably over
			t.tell(driver.Interim, t.said())
		}
	case "turn.eager_end":
		t.tell(driver.Preflight, t.said())
	case "turn.resume":
		t.tell(driver.Interim, t.said())
	case "turn.end":
		t.end()
	}
}

func (t *turns) said() driver.Alternative {
	return driver.Alternative{Text: t.text, Language: t.language}
}

// end ends the turn with its text. One that the end of the stream cuts off ends with what was heard of it.
func (t *turns) end() {
	t.tell(driver.Final, t.said())
	t.stop()
	t.text = ""
}
