package sessiontest

import (
	"context"
	"strings"
	"sync"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/session"
)

// Transport is a session.Transport in memory, with one user who is there from the start.
type Transport struct {
	In  *Input  // nil for a session without ears
	Out *Output // nil for a session that only writes
	// Video, if set, is what the user shows.
	Video session.VideoInput

	mu     sync.Mutex
	host   session.Host
	shown  []session.Transcript
	states []agent.State
}

var _ session.Transport = (*Transport)(nil)

// New makes a transport for audio at 16 kHz.
func New() *Transport { return &Transport{In: NewInput(16000), Out: NewOutput(16000)} }

// Open implements session.Transport.
func (t *Transport) Open(_ context.Context, h session.Host) (session.IO, error) {
	t.mu.Lock()
	t.host = h
	t.mu.Unlock()
	ends := session.IO{VideoIn: t.Video, Transcripts: t, AgentState: t.setState}
	if t.In != nil {
		ends.AudioIn = t.In
	}
	if t.Out != nil {
		ends.AudioOut = t.Out
	}
	h.OutputReady()
	h.ParticipantLinked(session.Participant{Identity: "user", Kind: "standard"})
	return ends, nil
}

// Close implements session.Transport.
func (t *Transport) Close(context.Context) error {
	if t.Out != nil {
		t.Out.Close()
	}
	return nil
}

// Host is the session that uses the transport.
func (t *Transport) Host() session.Host {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.host
}

// WriteTranscript implements session.TranscriptOutput.
func (t *Transport) WriteTranscript(x session.Transcript) {
	t.mu.Lock()
	t.shown = append(t.shown, x)
	t.mu.Unlock()
}

func (t *Transport) setState(s agent.State) {
	t.mu.Lock()
	t.states = append(t.states, s)
	t.mu.Unlock()
}

// Transcripts is what was shown so far, in order.
func (t *Transport) Transcripts() []session.Transcript {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]session.Transcript(nil), t.shown...)
}

// AgentText is the text of each segment that the agent said, as it was shown.
func (t *Transport) AgentText() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ids []string
	text := map[string]*strings.Builder{}
	for _, x := range t.shown {
		if x.User {
			continue
		}
		if text[x.SegmentID] == nil {
			ids = append(ids, x.SegmentID)
			text[x.SegmentID] = &strings.Builder{}
		}
		text[x.SegmentID].WriteString(x.Text)
	}
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = text[id].String()
	}
	return out
}
