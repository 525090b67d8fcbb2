package providertest

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/nvidiabox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/plugins/nvidia"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
)

// toned is a room whose user speaks in a tone, which a codec for speech leaves alone.
type toned struct{ *sessiontest.Transport }

// Open implements session.Transport.
func (r toned) Open(ctx context.Context, h session.Host) (session.IO, error) {
	ends, err := r.Transport.Open(ctx, h)
	ends.AudioIn = tone{r.In}
	return ends, err
}

type tone struct{ *sessiontest.Input }

// ReadFrame implements session.AudioInput.
func (in tone) ReadFrame(ctx context.Context) (audio.Frame, error) {
	f, err := in.Input.ReadFrame(ctx)
	for i := range f.Data {
		if i/20%2 == 1 { // 400 Hz
			f.Data[i] = -f.Data[i]
		}
	}
	return f, err
}

// A model that tells neither what the user says nor when: a recogniser beside it writes that down, in its place.
func TestRealtimeBesideARecogniser(t *testing.T) {
	t.Parallel()
	box := sandbox.Start(t, fault.Plan{})
	nvidiabox.Converse(box, "", nvidiabox.ConverseOptions{})
	m, err := nvidia.NewRealtime(&nvidia.RealtimeOptions{BaseURL: box.URL(), Header: http.Header{"Authorization": {"Bearer " + box.Key}}})
	if err != nil {
		t.Fatal(err)
	}
	ears, _ := hearing(t, fault.Plan{})
	room := sessiontest.New()
	c := startIn(t, session.Options{Realtime: m, STT: ears}, &agent.Agent{Instructions: "Be brief."}, toned{room}, room)
	for n := 2; n <= 4; n += 2 {
		c.speak(800 * time.Millisecond)
		said := c.awaitMessages(n)
		// A machine that stands still for a moment makes two utterances of one.
		if user, answer := said[n-2], said[n-1]; !strings.HasPrefix(user, "user: "+sandbox.EarText) || answer != "assistant: "+sandbox.TalkText {
			t.Errorf("the conversation was %q", said)
		}
	}
	c.hangUp()
	for limit := time.Now().Add(patience); box.Open() > 0 && time.Now().Before(limit); { // it bills at the end
		time.Sleep(time.Millisecond)
	}
	_, booked := untimed([]metrics.ModelUsage{spent[metrics.LLMUsage](c)})
	_, billed := untimed(box.Ledger.Billed().Models)
	if billed < time.Second || (booked-billed).Abs() > time.Second {
		t.Errorf("booked %v, the provider bills %v", booked, billed)
	}
	if f := c.failures("realtime"); len(f) > 0 {
		t.Errorf("errors %v", f)
	}
}
