package openaibox

import (
	"encoding/base64"
	"slices"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// listenAnew forgets what is being said.
func (t *converser) listenAnew() {
	t.ear = sandbox.Ear{Rate: converseRate, Text: t.o.Ear, Understand: t.c.Understand, Silence: t.ear.Silence}
}

// hear takes audio of the user.
func (t *converser) hear(data []byte) error {
	var m struct {
		Type    string `json:"type"`
		EventID string `json:"event_id"`
		Audio   string `json:"audio"`
	}
	if err := sandbox.Strict(data, &m); err != nil {
		return refuse("invalid_value", "%s", err.Error())
	}
	pcm, err := base64.StdEncoding.DecodeString(m.Audio)
	if err != nil || len(pcm)%2 != 0 || len(pcm) == 0 {
		return refuse("invalid_value", "invalid audio")
	}
	t.at += audio.Samples(len(pcm) / 2).At(converseRate)
	turns := t.session.turns
	for _, h := range t.ear.Hear(pcm) {
		switch {
		case turns == nil:
			if h.Kind == sandbox.Ended { // a turn is what is committed
				h.Words = append(slices.Clone(t.loose.Words), h.Words...)
				t.loose = h
			}
		case h.Kind == sandbox.Began:
			t.item = metrics.NewID("item_")
			if turns.Interrupt {
				t.stop()
			}
			if err := t.send(map[string]any{"type": "input_audio_buffer.speech_started", "item_id": t.item, "audio_start_ms": h.Start.Milliseconds()}, false); err != nil {
				return err
			}
		case h.Kind == sandbox.Ended:
			id := t.item
			t.item = ""
			if err := t.send(map[string]any{"type": "input_audio_buffer.speech_stopped", "item_id": id, "audio_end_ms": h.End.Milliseconds()}, false); err != nil {
				return err
			}
			if err := t.turn(id, h, turns.Create); err != nil {
				return err
			}
		}
	}
	return nil
}

// commit ends the user's turn.
func (t *converser) commit() error {
	if t.at-t.since < 100*time.Millisecond {
		return refuse("input_audio_buffer_commit_empty", "Error committing input audio buffer: buffer too small.")
	}
	said := t.loose
	t.loose = sandbox.Heard{}
	for _, h := range t.ear.Finish() {
		h.Words = append(said.Words, h.Words...)
		said = h
	}
	return t.turn(metrics.NewID("item_"), said, false)
}

// turn makes an item of what the user said. The words come after the answer began, as often happens.
func (t *converser) turn(id string, said sandbox.Heard, reply bool) error {
	it := &item{ID: id, Type: "message", Role: "user", heard: t.at - t.since,
		Content: []part{{Type: "input_audio", Transcript: said.Transcript()}}}
	t.since = t.at
	if err := t.send(map[string]any{"type": "input_audio_buffer.committed", "item_id": id, "previous_item_id": t.last()}, false); err != nil {
		return err
	}
	if err := t.added(it, t.last()); err != nil {
		return err
	}
	switch {
	case !reply:
	case t.active == nil:
		t.begin(answer{})
	case t.active.over:
		t.again = true
	}
	return t.transcribe(it, said)
}

func (t *converser) last() any {
	if len(t.items) == 0 {
		return nil
	}
	return t.items[len(t.items)-1].ID
}

// added puts an item behind all others, or where it belongs, and says so. Audio is told without its words.
func (t *converser) added(it *item, after any) error {
	t.items = append(t.items, it)
	told := *it
	if it.heard > 0 {
		told.Content = []part{{Type: "input_audio"}}
	}
	return t.send(map[string]any{"type": "conversation.item.added", "previous_item_id": after, "item": &told}, false)
}

func (t *converser) transcribe(it *item, said sandbox.Heard) error {
	script := t.session.script
	if script == nil {
		return nil
	}
	if err := t.interim(it, said); err != nil {
		return err
	}
	done := t.transcribed(it, said)
	if t.o.Form == XAI { // whose transcripts are part of the time
		return t.send(done, false)
	}
	e := &metrics.STT{}
	e.Metadata = t.metadata(script.Model)
	if script.Model == "whisper-1" {
		e.AudioDuration = it.heard
		done["usage"] = map[string]any{"type": "duration", "seconds": it.heard.Seconds()}
	} else {
		e.InputTokens, e.OutputTokens = tenths(it.heard), sandbox.TextTokens(said.Transcript())
		done["usage"] = map[string]any{"type": "tokens", "input_tokens": e.InputTokens, "output_tokens": e.OutputTokens,
			"total_tokens": e.InputTokens + e.OutputTokens, "input_token_details": map[string]any{"audio_tokens": e.InputTokens, "text_tokens": 0}}
	}
	t.c.Ledger.Bill(e)
	if t.c.Fault == fault.UsageMissing {
		delete(done, "usage")
	} else {
		stated := *e
		stated.ID = ""
		t.c.Ledger.State(&stated)
	}
	return t.send(done, false)
}

// interim tells the words one after the other.
func (t *converser) interim(it *item, said sandbox.Heard) error {
	for i, w := range said.Words {
		m := map[string]any{"type": "conversation.item.input_audio_transcription.delta", "item_id": it.ID, "content_index": 0, "delta": " " + w.Text}
		if i == 0 {
			m["delta"] = w.Text
		}
		if t.o.Form == XAI {
			said := sandbox.Heard{Words: said.Words[:i+1]}
			m = t.transcribed(it, said)
			m["type"] = "conversation.item.input_audio_transcription.updated"
			if i%2 == 1 { // it has two ways to say so
				m = t.transcribed(it, said)
				m["status"] = "in_progress"
			}
		}
		if err := t.send(m, false); err != nil {
			return err
		}
	}
	return nil
}

func (t *converser) transcribed(it *item, said sandbox.Heard) map[string]any {
	return map[string]any{"type": "conversation.item.input_audio_transcription.completed", "item_id": it.ID, "content_index": 0, "transcript": said.Transcript()}
}

// tenths is what the user's audio costs: a token for every begun tenth of a second.
func tenths(d time.Duration) int64 {
	return int64((d + 100*time.Millisecond - 1) / (100 * time.Millisecond))
}
