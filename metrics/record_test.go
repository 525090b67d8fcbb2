package metrics

import (
	"context"
	"strings"
	"testing"
)

type kept struct{ events []Event }

func (k *kept) Record(_ context.Context, e Event) { k.events = append(k.events, e) }

func TestRecordCompletesTheEvent(t *testing.T) {
	var k kept
	ctx := WithTags(WithRecorder(t.Context(), &k), Tags{SessionID: "se_1", AgentID: "kelly"})
	ctx = WithTags(ctx, Tags{AgentID: "bob", SpeechID: "sp_1"})
	e := &LLM{Header: Header{Tags: Tags{SpeechID: "sp_own"}}}
	Record(ctx, e)
	if len(k.events) != 1 || k.events[0] != Event(e) {
		t.Fatalf("recorded %v", k.events)
	}
	if e.Timestamp.IsZero() || !strings.HasPrefix(e.ID, "me_") {
		t.Errorf("not completed: %v", e)
	}
	if want := (Tags{SessionID: "se_1", AgentID: "bob", SpeechID: "sp_own"}); e.Tags != want {
		t.Errorf("tags %+v, want %+v", e.Tags, want)
	}
	own := &LLM{Header: Header{ID: "mine", Timestamp: noon}}
	Record(ctx, own)
	if own.ID != "mine" || !own.Timestamp.Equal(noon) {
		t.Errorf("id or time stamp was replaced: %v", own)
	}
}

func TestRecordGoesToTheInnermostRecorderOnly(t *testing.T) {
	var outer, inner kept
	ctx := WithRecorder(t.Context(), &outer)
	Record(WithRecorder(ctx, &inner), &VAD{})
	Record(t.Context(), &VAD{}) // no recorder: nothing happens
	if len(outer.events) != 0 || len(inner.events) != 1 {
		t.Errorf("outer got %d, inner %d", len(outer.events), len(inner.events))
	}
}

func TestIDsAreUnique(t *testing.T) {
	ids := make(map[string]bool)
	for range 10_000 {
		ids[newEventID()] = true
		ids[NewID("me_")] = true
	}
	if len(ids) != 20_000 {
		t.Errorf("%d of 20000 ids are different", len(ids))
	}
	for id := range ids {
		if len(id) != len("me_")+idLength || strings.Trim(id[3:], idAlphabet) != "" || !strings.HasPrefix(id, "me_") {
			t.Fatalf("id %q", id)
		}
	}
}
