package workertest

import (
	"context"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/agent"
	llmscripted "github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/worker"
)

func TestUnnamedAgentServesEveryRoomAndEndsInOrder(t *testing.T) {
	s := script{user: []string{"What day is it?"}, answers: []llmscripted.Answer{{Text: "It is Friday."}}, agent: greets("Hello there.")}
	sc := newScene(t, scripted(s), func(o *worker.Options) { o.AgentName = "" })
	c := sc.dial(sc.name)
	job := next(t, sc.jobs)
	c.answered()
	p := agentIn(t, sc.name)
	if p.Kind != livekit.ParticipantInfo_AGENT || p.Identity != "agent-"+job.ID() || p.Identity != job.Identity() {
		t.Errorf("the agent is %s of kind %s, the job is %s", p.Identity, p.Kind, job.ID())
	}
	if name, ok := p.Attributes["lk.agent.name"]; !ok || name != "" {
		t.Errorf("attributes %v, want an empty lk.agent.name", p.Attributes)
	}
	c.says(600 * ms)
	c.answered()
	if st := agentIn(t, sc.name).Attributes["lk.agent.state"]; st != string(agent.Listening) {
		t.Errorf("state %q, want listening", st)
	}
	job.Shutdown("enough")
	r := next(t, sc.reports)
	sc.journal.want(t, "order: ", "order: status JS_RUNNING", "order: closed job_shutdown", "order: session end", "order: before disconnect, enough",
		"order: status JS_SUCCESS", "order: left", "order: report", "order: callback, enough")
	sc.journal.want(t, "wire: ", "wire: JS_RUNNING", "wire: JS_SUCCESS")
	if r.JobID != job.ID() || r.Room != sc.name || r.RoomID == "" || r.CloseReason != session.ReasonJobShutdown || r.EndedAt.IsZero() {
		t.Errorf("report of job %q in room %q (%q), closed for %s at %v", r.JobID, r.Room, r.RoomID, r.CloseReason, r.EndedAt)
	}
	wantUsage(t, r, len("Hello there.")+len("It is Friday."))
	sc.quiet()
}

// quiet checks at the end of a test that nothing was logged as an error.
func (sc *scene) quiet() {
	sc.t.Helper()
	if err := sc.stop(); err != nil {
		sc.t.Errorf("Run: %v", err)
	}
	sc.journal.want(sc.t, "error: ")
}

func wantUsage(t *testing.T, r *session.Report, characters int) {
	t.Helper()
	var kinds []string
	for _, u := range r.Usage.Models {
		switch u := u.(type) {
		case metrics.LLMUsage:
			kinds = append(kinds, "llm")
			if u.InputTokens == 0 || u.OutputTokens == 0 {
				t.Errorf("usage %+v", u)
			}
		case metrics.STTUsage:
			kinds = append(kinds, "stt")
			if u.AudioDuration == 0 {
				t.Errorf("usage %+v", u)
			}
		case metrics.TTSUsage:
			kinds = append(kinds, "tts")
			if int(u.CharactersCount) != characters {
				t.Errorf("usage of %d characters, want %d", u.CharactersCount, characters)
			}
		}
	}
	if got := strings.Join(kinds, " "); got != "llm tts stt" {
		t.Errorf("usage of %q, want of llm, tts and stt", got)
	}
}

// agentIn is the agent in a room as the server sees it.
func agentIn(t *testing.T, room string) *livekit.ParticipantInfo {
	t.Helper()
	r, err := rooms().ListParticipants(t.Context(), &livekit.ListParticipantsRequest{Room: room})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Participants {
		if strings.HasPrefix(p.Identity, "agent-") {
			return p
		}
	}
	t.Fatalf("no agent among %v", r.Participants)
	return nil
}

func TestDispatchBringsItsMetadata(t *testing.T) {
	type order struct{ Dish string }
	got := make(chan order, 1) // one job
	sc := newScene(t, func(ctx context.Context, job *worker.Job, _ *scene) error {
		var o order
		if err := job.Metadata(&o); err != nil {
			return err
		}
		got <- o
		return nil
	}, nil)
	d, err := dispatches().CreateDispatch(t.Context(), &livekit.CreateAgentDispatchRequest{
		Room: sc.name, AgentName: sc.name, Metadata: `{"dish":"soup"}`})
	if err != nil {
		t.Fatal(err)
	}
	if o := next(t, got); o.Dish != "soup" {
		t.Errorf("metadata %+v", o)
	}
	job := next(t, sc.jobs)
	if id := job.Info().GetDispatchId(); id != d.Id {
		t.Errorf("dispatch %s, want %s", id, d.Id)
	}
	if worker.FromContext(context.Background()) != nil {
		t.Error("a context without a job has one")
	}
	job.Shutdown("")
	sc.journal.want(t, "wire: ", "wire: JS_RUNNING", "wire: JS_SUCCESS")
	sc.quiet()
}
