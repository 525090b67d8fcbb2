package openai

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

// usageJSON is a whole statement of usage.
const usageJSON = `{"total_tokens":130,"input_tokens":100,"output_tokens":30,` +
	`"input_token_details":{"text_tokens":40,"audio_tokens":50,"image_tokens":10,"cached_tokens":60,` +
	`"cached_tokens_details":{"text_tokens":30,"audio_tokens":25,"image_tokens":5}},"output_token_details":{"text_tokens":8,"audio_tokens":22}}`

var usageTold = &driver.Usage{
	InputTokens: 100, OutputTokens: 30, TotalTokens: 130,
	Input: metrics.InputTokenDetails{TextTokens: 40, AudioTokens: 50, ImageTokens: 10, CachedTokens: 60,
		CachedTokensDetails: &metrics.CachedTokenDetails{TextTokens: 30, AudioTokens: 25, ImageTokens: 5}},
	Output: metrics.OutputTokenDetails{TextTokens: 8, AudioTokens: 22},
	Raw:    json.RawMessage(usageJSON),
}

// What the service says is told in the words of package driver.
func TestConversationEvents(t *testing.T) {
	t.Parallel()
	const created = `{"type":"response.created","response":{"id":"r1","metadata":{"client_event_id":"one"}}}`
	const audioJSON = `"response_id":"r1","item_id":"m1","content_index":0,"delta":"AQACAA=="`
	sound := &driver.Audio{ResponseID: "r1", ItemID: "m1", Frame: audio.Frame{Data: []int16{1, 2}, Rate: 24000, Channels: 1}}
	message := func(id, text string) *chat.Message {
		m := &chat.Message{Header: chat.Header{ID: id}, Role: chat.User}
		if text != "" {
			m.Content = []chat.Part{chat.Text(text)}
		}
		return m
	}
	for name, c := range map[string]struct {
		variant string // default openai
		says    []string
		tells   []driver.Event
	}{
		"news that nobody needs": {"", []string{`{"type":"rate_limits.updated"}`, `{"type":"session.created"}`, `{"type":"input_audio_buffer.committed","item_id":"u1"}`,
			`{"type":"conversation.item.done","item":{"id":"u1","type":"message","role":"user"}}`, `{"type":"conversation.item.truncated","item_id":"m1"}`,
			`{"type":"input_audio_buffer.timeout_triggered"}`, `{"type":"something.new"}`, `{"type":"response.output_audio.done","item_id":"m1"}`}, nil},
		"speech": {"", []string{`{"type":"input_audio_buffer.speech_started","item_id":"u1","audio_start_ms":10}`,
			`{"type":"input_audio_buffer.speech_stopped","item_id":"u1","audio_end_ms":900}`},
			[]driver.Event{&driver.SpeechStarted{}, &driver.SpeechStopped{ItemID: "u1"}}},
		"items": {"", []string{`{"type":"conversation.item.added","previous_item_id":null,"item":{"id":"u1","type":"message","role":"user","content":[{"type":"input_audio"}]}}`,
			`{"type":"conversation.item.added","previous_item_id":"u1","item":{"id":"u2","type":"message","role":"user","content":[{"type":"input_text","text":"Hello"}]}}`,
			`{"type":"conversation.item.added","previous_item_id":"u2","item":{"id":"f1","type":"function_call","call_id":"c1","name":"lookup","arguments":""}}`,
			`{"type":"conversation.item.added","previous_item_id":"f1","item":{"id":"o1","type":"function_call_output","call_id":"c1","output":"fine"}}`,
			`{"type":"conversation.item.deleted","item_id":"u1"}`},
			[]driver.Event{&driver.ItemAdded{Item: message("u1", "")}, &driver.ItemAdded{After: "u1", Item: message("u2", "Hello")},
				&driver.ItemAdded{After: "f1", Item: &chat.FunctionCallOutput{Header: chat.Header{ID: "o1"}, CallID: "c1", Output: "fine"}},
				&driver.ItemDeleted{ItemID: "u1"}}},
		"older items": {"azure older", []string{`{"type":"conversation.item.created","previous_item_id":"u1","item":{"id":"u2","type":"message","role":"user","content":[{"type":"input_text","text":"Hello"}]}}`},
			[]driver.Event{&driver.ItemAdded{After: "u1", Item: message("u2", "Hello")}}},
		"transcripts by tokens": {"", []string{`{"type":"conversation.item.input_audio_transcription.delta","item_id":"u1","delta":"Turn it"}`,
			`{"type":"conversation.item.input_audio_transcription.delta","item_id":"u1","delta":" on."}`,
			`{"type":"conversation.item.input_audio_transcription.completed","item_id":"u1","transcript":"Turn it on. ","logprobs":[{"logprob":-0.6931471805599453},{"logprob":-0.6931471805599453}],` +
				`"usage":{"type":"tokens","total_tokens":12,"input_tokens":9,"output_tokens":3}}`},
			[]driver.Event{&driver.Transcript{ItemID: "u1", Text: "Turn it"}, &driver.Transcript{ItemID: "u1", Text: "Turn it on."},
				&driver.TranscriptUsage{ItemID: "u1", Model: "gpt-4o-mini-transcribe", InputTokens: 9, OutputTokens: 3,
					Raw: json.RawMessage(`{"type":"tokens","total_tokens":12,"input_tokens":9,"output_tokens":3}`)},
				&driver.Transcript{ItemID: "u1", Text: "Turn it on.", Final: true, Confidence: 0.5}}},
		"transcripts by time": {"azure", []string{`{"type":"conversation.item.input_audio_transcription.completed","item_id":"u1","transcript":"On.","usage":{"type":"duration","seconds":2.5}}`},
			[]driver.Event{&driver.TranscriptUsage{ItemID: "u1", Model: "whisper-1", AudioDuration: 2500 * time.Millisecond, Raw: json.RawMessage(`{"type":"duration","seconds":2.5}`)},
				&driver.Transcript{ItemID: "u1", Text: "On.", Final: true}}},
		"transcripts of xAI": {"xai", []string{`{"type":"conversation.item.input_audio_transcription.updated","item_id":"u1","transcript":"Turn"}`,
			`{"type":"conversation.item.input_audio_transcription.completed","item_id":"u1","transcript":"Turn it","status":"in_progress"}`,
			`{"type":"conversation.item.input_audio_transcription.completed","item_id":"u1","transcript":"Turn it on"}`,
			`{"type":"conversation.item.input_audio_transcription.completed","item_id":"u1","transcript":"Turn it on. ","status":"completed"}`,
			`{"type":"input_audio_buffer.speech_started","item_id":"u1"}`, `{"type":"input_audio_buffer.speech_started","item_id":"u2"}`},
			[]driver.Event{&driver.Transcript{ItemID: "u1", Text: "Turn"}, &driver.Transcript{ItemID: "u1", Text: "Turn it"}, &driver.Transcript{ItemID: "u1", Text: "Turn it on"},
				&driver.Transcript{ItemID: "u1", Text: "Turn it on. "}, &driver.SpeechStarted{}, &driver.Transcript{ItemID: "u1", Text: "Turn it on.", Final: true}, &driver.SpeechStarted{}}},
		"an answer of xAI settles the words": {"xai", []string{`{"type":"conversation.item.input_audio_transcription.completed","item_id":"u1","transcript":"On"}`,
			`{"type":"response.created","response":{"id":"r1"}}`, `{"type":"response.output_audio.delta",` + audioJSON + `}`},
			[]driver.Event{&driver.Transcript{ItemID: "u1", Text: "On"}, &driver.ResponseCreated{ResponseID: "r1"}, &driver.Transcript{ItemID: "u1", Text: "On", Final: true},
				&driver.MessageStarted{ResponseID: "r1", ItemID: "m1"}, sound}},
		"an answer that xAI gives up": {"xai", []string{`{"type":"response.created","response":{"id":"r1"}}`, `{"type":"response.created","response":{"id":"r2"}}`},
			[]driver.Event{&driver.ResponseCreated{ResponseID: "r1"}, &driver.ResponseDone{ResponseID: "r1", Status: driver.Cancelled}, &driver.ResponseCreated{ResponseID: "r2"}}},
		"spoken answer": {"", []string{created, `{"type":"response.output_item.added","response_id":"r1","item":{"id":"m1","type":"message","role":"assistant"}}`,
			`{"type":"response.content_part.added","response_id":"r1","item_id":"m1","part":{"type":"audio"}}`,
			`{"type":"response.output_audio_transcript.delta","response_id":"r1","item_id":"m1","delta":"Hi"}`, `{"type":"response.output_audio.delta",` + audioJSON + `}`,
			`{"type":"response.output_item.done","response_id":"r1","item":{"id":"m1","type":"message","status":"completed"}}`,
			`{"type":"response.done","response":{"id":"r1","status":"completed","metadata":{"client_event_id":"one"},"usage":` + usageJSON + `}}`},
			[]driver.Event{&driver.ResponseCreated{ResponseID: "r1", RequestID: "one"}, &driver.MessageStarted{ResponseID: "r1", ItemID: "m1"},
				&driver.Text{ResponseID: "r1", ItemID: "m1", Delta: "Hi"}, sound, &driver.MessageDone{ResponseID: "r1", ItemID: "m1"},
				&driver.ResponseDone{ResponseID: "r1", RequestID: "one", Status: driver.Completed, Usage: usageTold}}},
		"older answer": {"azure older", []string{created, `{"type":"response.audio_transcript.delta","response_id":"r1","item_id":"m1","delta":"Hi"}`,
			`{"type":"response.audio.delta",` + audioJSON + `}`},
			[]driver.Event{&driver.ResponseCreated{ResponseID: "r1", RequestID: "one"}, &driver.MessageStarted{ResponseID: "r1", ItemID: "m1"},
				&driver.Text{ResponseID: "r1", ItemID: "m1", Delta: "Hi"}, sound}},
		"written answer": {"", []string{created, `{"type":"response.content_part.added","response_id":"r1","item_id":"m1","part":{"type":"text"}}`,
			`{"type":"response.output_text.delta","response_id":"r1","item_id":"m1","delta":"Hi"}`},
			[]driver.Event{&driver.ResponseCreated{ResponseID: "r1", RequestID: "one"}, &driver.MessageStarted{ResponseID: "r1", ItemID: "m1", TextOnly: true},
				&driver.Text{ResponseID: "r1", ItemID: "m1", Delta: "Hi"}}},
		"older written answer": {"azure older", []string{created, `{"type":"response.text.delta","response_id":"r1","item_id":"m1","delta":"Hi"}`},
			[]driver.Event{&driver.ResponseCreated{ResponseID: "r1", RequestID: "one"}, &driver.MessageStarted{ResponseID: "r1", ItemID: "m1", TextOnly: true},
				&driver.Text{ResponseID: "r1", ItemID: "m1", Delta: "Hi"}}},
		"call": {"", []string{created, `{"type":"response.function_call_arguments.delta","response_id":"r1","item_id":"f1","delta":"{"}`,
			`{"type":"response.output_item.done","response_id":"r1","item":{"id":"f0","type":"function_call","status":"incomplete","call_id":"c0","name":"lookup","arguments":"{"}}`,
			`{"type":"response.output_item.done","response_id":"r1","item":{"id":"f1","type":"function_call","status":"completed","call_id":"c1","name":"lookup","arguments":"{}"}}`},
			[]driver.Event{&driver.ResponseCreated{ResponseID: "r1", RequestID: "one"},
				&driver.ToolCall{ResponseID: "r1", ItemID: "f1", Call: llm.ToolCall{CallID: "c1", Name: "lookup", Arguments: "{}"}}}},
		"cancelled without a beginning": {"", []string{`{"type":"response.done","response":{"id":"r1","status":"cancelled","status_details":{"type":"cancelled","reason":"turn_detected"},"usage":` + usageJSON + `}}`},
			[]driver.Event{&driver.ResponseDone{ResponseID: "r1", Status: driver.Cancelled, Usage: usageTold}}},
		"usage is not stated": {"xai", []string{`{"type":"response.done","response":{"id":"r1","status":"completed","usage":null}}`},
			[]driver.Event{&driver.ResponseDone{ResponseID: "r1", Status: driver.Completed}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.variant == "" {
				c.variant = "openai"
			}
			meet(t, ofVariant(c.variant), &driver.Setup{}).want(c.says, c.tells...)
		})
	}
}

// What xAI would still have changed is told when the connection ends.
func TestConversationLastWords(t *testing.T) {
	t.Parallel()
	p := meet(t, ofVariant("xai"), &driver.Setup{})
	p.say(`{"type":"conversation.item.input_audio_transcription.completed","item_id":"u1","transcript":"On"}`)
	_ = p.tells(1)
	p.ws.Close(1000, "")
	if e, ok := p.tells(1)[0].(*driver.Transcript); !ok || !e.Final || e.Text != "On" {
		t.Errorf("told %+v", e)
	}
}

// A turn began when the service first heard it, however late its words come.
func TestConversationTurnBegan(t *testing.T) {
	t.Parallel()
	p := meet(t, ofVariant("openai"), &driver.Setup{})
	p.say(`{"type":"input_audio_buffer.speech_started","item_id":"u1"}`)
	_ = p.tells(1)
	heard := time.Now()
	p.say(`{"type":"input_audio_buffer.speech_started","item_id":"u1"}`, `{"type":"input_audio_buffer.speech_started","item_id":"u2"}`,
		`{"type":"conversation.item.input_audio_transcription.completed","item_id":"u1","transcript":"On"}`)
	if e, ok := p.tells(3)[2].(*driver.Transcript); !ok || e.StartedAt.IsZero() || e.StartedAt.After(heard) {
		t.Errorf("told %+v", e)
	}
}

// Answers that end badly say why; those that were cut by a limit too.
func TestConversationBadEnds(t *testing.T) {
	t.Parallel()
	p := meet(t, ofVariant("openai"), &driver.Setup{})
	for details, want := range map[string]struct {
		status    driver.Status
		says      string
		code      int
		retryable bool
	}{
		`"failed","status_details":{"type":"failed","error":{"type":"server_error","code":"server_error","message":"sorry"}}`:           {driver.Failed, "sorry", 500, true},
		`"failed","status_details":{"type":"failed","error":{"type":"tokens","code":"rate_limit_exceeded","message":"slow down"}}`:      {driver.Failed, "slow down", 429, true},
		`"failed","status_details":{"type":"failed","error":{"type":"insufficient_quota","code":"insufficient_quota","message":"pay"}}`: {driver.Failed, "pay", 402, false},
		`"failed"`: {driver.Failed, "no reason given", 0, true},
		`"incomplete","status_details":{"type":"incomplete","reason":"max_output_tokens"}`: {driver.Incomplete, "max_output_tokens", 0, true},
	} {
		p.say(`{"type":"response.done","response":{"id":"r1","status":` + details + `}}`)
		e, ok := p.tells(1)[0].(*driver.ResponseDone)
		var err *model.Error
		if !ok || e.Status != want.status || !errors.As(e.Err, &err) || err.Status != want.code || model.Retryable(err) != want.retryable || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%s is told as %+v", details, e)
		}
	}
}

// A transcript that fails is told, with the words that were known, and costs nothing.
func TestConversationTranscriptFailed(t *testing.T) {
	t.Parallel()
	p := meet(t, ofVariant("openai"), &driver.Setup{})
	failed := func(id string) string {
		return `{"type":"conversation.item.input_audio_transcription.failed","item_id":"` + id + `","error":{"type":"transcription_error","code":"audio_unintelligible","message":"mumbling"}}`
	}
	p.say(failed("u1"), `{"type":"conversation.item.input_audio_transcription.delta","item_id":"u2","delta":"Turn"}`, failed("u2"))
	got := p.tells(5)
	for _, i := range []int{0, 3} {
		if e, ok := got[i].(*driver.Error); !ok || !strings.Contains(e.Err.Error(), "mumbling") {
			t.Errorf("told %+v", got[i])
		}
	}
	if e, ok := got[1].(*driver.Transcript); !ok || !e.Final || !e.Failed || e.Text != "" {
		t.Errorf("told %+v", got[1])
	}
	if e, ok := got[4].(*driver.Transcript); !ok || !e.Final || e.Failed || e.Text != "Turn" {
		t.Errorf("told %+v", got[4])
	}
}

// Errors are told for what they are about. Those that only say what we know are not, and after some nothing works
// any more.
func TestConversationErrors(t *testing.T) {
	t.Parallel()
	said := func(code, message, id string) string {
		return `{"type":"error","error":{"type":"invalid_request_error","code":"` + code + `","message":"` + message + `","event_id":"` + id + `"}}`
	}
	p := meet(t, ofVariant("openai"), &driver.Setup{})
	p.want([]string{said("response_cancel_not_active", "Cancellation failed: no active response found", ""), said("input_audio_buffer_commit_empty", "buffer too small", ""),
		said("invalid_value", "Audio content of 900ms is already shorter than 1000ms", "")})
	p.say(said("invalid_value", "no such thing", "for_item_1"), said("invalid_value", "no such thing", ""))
	for i, e := range p.tells(2) {
		if e, ok := e.(*driver.Error); !ok || e.RequestID != []string{"item_1", ""}[i] || !strings.Contains(e.Err.Error(), "no such thing") || model.Retryable(e.Err) {
			t.Errorf("told %+v", e)
		}
	}
	for code, again := range map[string]bool{"insufficient_quota": false, "invalid_api_key": false, "account_deactivated": false, "billing_hard_limit_reached": false, "session_expired": true} {
		p := meet(t, ofVariant("openai"), &driver.Setup{})
		p.say(said(code, "that was it", ""))
		ctx, cancel := p.context()
		if _, err := p.conn.Next(ctx); err == nil || model.Retryable(err) != again || !strings.Contains(err.Error(), "that was it") {
			t.Errorf("%s: Next fails with %v", code, err)
		}
		cancel()
	}
}

// What cannot be read is an error of the connection.
func TestConversationUnreadable(t *testing.T) {
	t.Parallel()
	for _, m := range []string{`"hello"`, `{"type":"response.created"}`, `{"type":"response.done"}`, `{"type":"response.output_audio.delta","response_id":"r","item_id":"m","delta":"%"}`,
		`{"type":"response.done","response":{"id":"r","status":"completed","usage":"much"}}`,
		`{"type":"conversation.item.input_audio_transcription.completed","item_id":"u","transcript":"","usage":"much"}`} {
		p := meet(t, ofVariant("openai"), &driver.Setup{})
		p.say(m)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		var err error
		for err == nil { // what was told before
			_, err = p.conn.Next(ctx)
		}
		var e *model.Error
		if !errors.As(err, &e) || e.Kind != model.KindProtocol {
			t.Errorf("%s: %v", m, err)
		}
		cancel()
	}
}

// A request that was refused since another answer goes on is asked for again when that is over, unless it was withdrawn.
func TestWithdrawnRequestsAreNotSentAgain(t *testing.T) {
	for name, early := range map[string]bool{"before it is refused": true, "after": false} {
		t.Run(name, func(t *testing.T) {
			p := meet(t, ofVariant("openai"), &driver.Setup{})
			p.say(`{"type":"response.created","response":{"id":"r1"}}`)
			_ = p.tells(1)
			p.do(func(ctx context.Context) error { return p.conn.Generate(ctx, &driver.Request{ID: "one"}) })
			_ = p.hear("response.create")
			if early && p.conn.(driver.Withdrawer).Withdraw("one") {
				t.Error("nobody knows yet that it will be refused")
			}
			refusal := `{"type":"error","error":{"code":"conversation_already_has_active_response","message":"busy","event_id":"for_one"}}`
			if early {
				p.say(refusal)
				if e, ok := p.tells(1)[0].(*driver.Error); !ok || e.RequestID != "one" {
					t.Errorf("told %+v", e)
				}
			} else {
				p.want([]string{refusal})
			}
			if !early && !p.conn.(driver.Withdrawer).Withdraw("one") {
				t.Error("it waits, and the service does not have it")
			}
			p.say(`{"type":"response.done","response":{"id":"r1","status":"cancelled"}}`)
			_ = p.tells(1)
			p.do(func(ctx context.Context) error { return p.conn.(driver.Canceller).Cancel(ctx) })
			_ = p.hear("response.cancel") // and nothing before it
		})
	}
}

// The service may refuse a request because of an answer that it has not told of, and cancels: there is no use in asking again
// before the end of that one.
func TestRefusedRequestsWaitForTheAnswerThatIsNamed(t *testing.T) {
	for name, ended := range map[string]bool{"that goes on": false, "that ended meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			p := meet(t, ofVariant("openai"), &driver.Setup{})
			done := `{"type":"response.done","response":{"id":"resp_1","status":"cancelled"}}`
			refusal := `{"type":"error","error":{"code":"conversation_already_has_active_response","message":"Conversation already has an active response in progress: resp_1.","event_id":"for_one"}}`
			p.do(func(ctx context.Context) error { return p.conn.Generate(ctx, &driver.Request{ID: "one"}) })
			_ = p.hear("response.create")
			if ended {
				p.want([]string{done, refusal}, &driver.ResponseDone{ResponseID: "resp_1", Status: driver.Cancelled})
			} else {
				p.want([]string{refusal})
				p.do(func(ctx context.Context) error { return p.conn.(driver.Canceller).Cancel(ctx) })
				_ = p.hear("response.cancel") // and nothing before it
				p.say(done)
				_ = p.tells(1)
			}
			_ = p.hear("response.create")
		})
	}
}
