package openaibox

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// answer is an answer under way.
type answer struct {
	t        *converser
	id       string
	metadata map[string]string
	more     string // instructions, instead of those of the session
	tools    []converseTool
	choice   json.RawMessage
	forced   string // is said as it is
	fault    fault.Kind
	end      func()
	stopped  chan struct{} // closed when it is cancelled
	over     bool          // with the lock: it is stopped, or done
	reply    sandbox.Reply
	usage    metrics.Realtime
	output   []any
}

// asked begins the answer that the client wants.
func (t *converser) asked(data []byte) error {
	var m struct {
		Type     string `json:"type"`
		EventID  string `json:"event_id"`
		Response struct {
			Instructions string            `json:"instructions"`
			Tools        *[]converseTool   `json:"tools"`
			ToolChoice   json.RawMessage   `json:"tool_choice"`
			Metadata     map[string]string `json:"metadata"`
		} `json:"response"`
	}
	if err := sandbox.Strict(data, &m); err != nil {
		return refuse("invalid_value", "%s", err.Error())
	}
	if t.active != nil {
		return refuse("conversation_already_has_active_response", "Conversation already has an active response in progress: %s.", t.active.id)
	}
	if t.o.Form == XAI && (m.Response.Tools != nil || m.Response.ToolChoice != nil) {
		return refuse("invalid_value", "unknown parameter: tools")
	}
	a := answer{metadata: m.Response.Metadata, more: m.Response.Instructions, choice: m.Response.ToolChoice}
	if m.Response.Tools != nil {
		a.tools = *m.Response.Tools
	}
	t.begin(a)
	return nil
}

// force says text as it is.
func (t *converser) force(text string) error {
	if t.active != nil {
		return refuse("conversation_already_has_active_response", "there is an active response")
	}
	t.begin(answer{forced: text})
	return nil
}

// begin begins an answer, on a goroutine that ends with the session. With the lock.
func (t *converser) begin(a answer) {
	if a.tools == nil {
		a.tools = t.session.tools
	}
	if a.choice == nil {
		a.choice = t.session.choice
	}
	if string(a.choice) == `"none"` {
		a.tools = nil
	}
	a.t, a.id, a.stopped = t, metrics.NewID("resp_"), make(chan struct{})
	a.fault, a.end = t.ws.Stream()
	r := sandbox.TalkRequest{Instructions: t.session.instructions}
	if a.more != "" {
		r.Instructions = a.more
	}
	u := &a.usage
	u.Metadata = t.metadata(t.model)
	in := &u.InputTokenDetails
	in.TextTokens = sandbox.TextTokens(r.Instructions)
	for _, tool := range a.tools {
		if tool.Type != "function" { // it would be ours
			continue
		}
		r.Tools = append(r.Tools, llm.ToolSpec{Name: tool.Name, Description: tool.Description, Parameters: tool.Parameters})
		in.TextTokens += sandbox.TextTokens(tool.Description) + 8
	}
	for _, it := range t.items {
		role := it.Role
		switch it.Type {
		case "function_call":
			role = "call"
		case "function_call_output":
			role = "output"
		}
		images := it.images()
		r.Turns = append(r.Turns, sandbox.Turn{Role: role, Text: it.text(), Tool: it.Name, Audio: it.heard + it.spoken, Images: images})
		switch {
		case it.heard > 0:
			in.AudioTokens += tenths(it.heard)
		case it.spoken > 0:
			in.AudioTokens += 2 * tenths(it.spoken)
		default:
			in.TextTokens += sandbox.TextTokens(it.text())
			in.ImageTokens += 85 * int64(images)
		}
	}
	in.CachedTokensDetails = &metrics.CachedTokenDetails{TextTokens: min(t.cached.TextTokens, in.TextTokens),
		AudioTokens: min(t.cached.AudioTokens, in.AudioTokens), ImageTokens: min(t.cached.ImageTokens, in.ImageTokens)}
	in.CachedTokens = in.CachedTokensDetails.TextTokens + in.CachedTokensDetails.AudioTokens + in.CachedTokensDetails.ImageTokens
	t.cached = *in
	u.InputTokens = in.TextTokens + in.AudioTokens + in.ImageTokens
	switch {
	case a.forced != "":
		a.reply = sandbox.Reply{Text: a.forced}
	case a.fault != fault.Empty:
		a.reply = t.o.Answer(r)
	}
	t.active = &a
	t.wg.Go(a.run)
}

// stop cancels the answer under way, if any. With the lock. Another one begins when it is over.
func (t *converser) stop() {
	if a := t.active; a != nil && !a.over {
		a.over = true
		close(a.stopped)
	}
}

func (a *answer) run() {
	t := a.t
	defer a.end()
	if a.fault == fault.Silence {
		t.ws.Hang()
		a.finish("failed")
		return
	}
	if !a.live() { // cancelled before it was told of, as happens
		a.finish("cancelled")
		return
	}
	_ = t.send(map[string]any{"type": "response.created", "response": a.object("in_progress", false)}, false)
	status := cmp.Or(a.reply.Status, "completed")
	if a.reply.Text != "" && !a.say() {
		status = "cancelled"
	}
	for _, c := range a.reply.Calls {
		if status != "cancelled" && !a.call(c) {
			status = "cancelled"
		}
	}
	a.finish(status)
}

// live reports whether the answer was not cancelled.
func (a *answer) live() bool {
	select {
	case <-a.stopped:
		return false
	default:
		return true
	}
}

func (a *answer) event(kind string, more map[string]any, content bool) bool {
	m := map[string]any{"type": kind, "response_id": a.id, "output_index": len(a.output)}
	for k, v := range more {
		m[k] = v
	}
	return a.t.send(m, content) == nil
}

// add makes an item of the conversation; false when the answer is cancelled.
func (a *answer) add(it *item) bool {
	t := a.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.over {
		return false
	}
	if !a.event("response.output_item.added", map[string]any{"item": it}, false) {
		return false
	}
	return t.added(it, t.last()) == nil
}

// say speaks the text, or writes it.
func (a *answer) say() bool {
	t := a.t
	it := &item{ID: metrics.NewID("item_"), Type: "message", Status: "in_progress", Role: "assistant"}
	if !a.add(it) {
		return false
	}
	t.mu.Lock()
	text := t.session.text
	t.mu.Unlock()
	kind := "audio"
	if text {
		kind = "text"
	}
	place := map[string]any{"item_id": it.ID, "content_index": 0}
	with := func(k string, v any) map[string]any {
		return map[string]any{"item_id": it.ID, "content_index": 0, k: v}
	}
	a.event("response.content_part.added", with("part", part{Type: kind}), false)
	said, whole := "", true
	var pieces [][]byte
	if !text {
		pieces = t.o.Speak(a.reply.Text, converseRate)
	}
	for i, w := range strings.Fields(a.reply.Text) {
		if whole = a.live(); !whole {
			break
		}
		if i > 0 {
			w = " " + w
		}
		if text {
			if whole = a.event("response.output_text.delta", with("delta", w), true); !whole {
				break
			}
			a.usage.OutputTokenDetails.TextTokens += sandbox.TextTokens(w)
		} else if whole = a.speak(it, w, pieces[i], with); !whole {
			break
		}
		said += w
	}
	t.mu.Lock()
	it.Status = "completed"
	if !whole {
		it.Status = "incomplete"
	}
	it.Content = []part{{Type: "output_audio", Transcript: said}}
	if text {
		it.Content = []part{{Type: "output_text", Text: said}}
	}
	done := *it
	t.mu.Unlock()
	if text {
		a.event("response.output_text.done", with("text", said), false)
	} else {
		a.event("response.output_audio_transcript.done", with("transcript", said), false)
		a.event("response.output_audio.done", place, false)
	}
	a.event("response.content_part.done", with("part", part{Type: kind}), false)
	a.event("response.output_item.done", map[string]any{"item": &done}, false)
	a.output = append(a.output, &done)
	return whole
}

// speak sends the audio of a word and what it says.
func (a *answer) speak(it *item, w string, pcm []byte, with func(string, any) map[string]any) bool {
	t := a.t
	d := audio.Samples(len(pcm) / 2).At(converseRate)
	pace := t.o.Pace
	if a.fault == fault.Slow {
		pace = 1
	}
	if pace > 0 && !t.ws.Pause(time.Duration(float64(d)/pace), a.stopped) {
		return false
	}
	if !a.event("response.output_audio_transcript.delta", with("delta", w), false) ||
		!a.event("response.output_audio.delta", with("delta", base64.StdEncoding.EncodeToString(pcm)), true) {
		return false
	}
	t.mu.Lock()
	it.spoken += d
	t.mu.Unlock()
	a.usage.OutputTokenDetails.TextTokens += sandbox.TextTokens(w)
	a.usage.OutputTokenDetails.AudioTokens += 2 * tenths(d)
	return true
}

// call calls a tool.
func (a *answer) call(c llm.ToolCall) bool {
	if c.CallID == "" {
		c.CallID = metrics.NewID("call_")
	}
	it := &item{ID: metrics.NewID("item_"), Type: "function_call", Status: "in_progress", CallID: c.CallID, Name: c.Name}
	if !a.live() || !a.add(it) {
		return false
	}
	a.event("response.function_call_arguments.delta", map[string]any{"item_id": it.ID, "call_id": c.CallID, "delta": c.Arguments}, true)
	a.t.mu.Lock()
	it.Arguments, it.Status = c.Arguments, "completed"
	a.t.calls[c.CallID] = true
	done := *it
	a.t.mu.Unlock()
	a.usage.OutputTokenDetails.TextTokens += 5 + sandbox.TextTokens(c.Arguments)
	a.output = append(a.output, &done)
	return a.event("response.output_item.done", map[string]any{"item": &done}, true)
}

// finish tells the end, and bills.
func (a *answer) finish(status string) {
	t, u := a.t, &a.usage
	u.OutputTokens = u.OutputTokenDetails.AudioTokens + u.OutputTokenDetails.TextTokens
	u.TotalTokens = u.InputTokens + u.OutputTokens
	t.mu.Lock()
	if a.over && status == "completed" {
		status = "cancelled"
	}
	a.over = true
	t.mu.Unlock()
	billed, came := *u, u.OutputTokens > 0
	says := a.fault != fault.UsageMissing && t.o.Form != XAI
	if t.o.Form != XAI && came { // whose tokens cost nothing
		t.c.Ledger.Bill(&billed)
	}
	done := map[string]any{"type": "response.done", "response": a.object(status, says)}
	told := a.told(done, says)
	if t.o.Form != XAI && !came {
		if told {
			t.c.Ledger.Bill(&billed)
		} else { // nobody knows of it
			t.c.Unanswered.Bill(&billed)
		}
	}
	if !told {
		t.ws.Hang()
	}
}

// told sends the end of an answer. Whoever has it may ask for the next one.
func (a *answer) told(done map[string]any, usage bool) bool {
	t := a.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.send(done, true) != nil {
		return false
	}
	if usage {
		stated := a.usage
		t.c.Ledger.State(&stated)
	}
	if a.fault == fault.DoubleFinal || a.fault == fault.UsageRepeated {
		_ = t.send(done, true)
	}
	t.active = nil
	if t.again {
		t.again = false
		t.begin(answer{})
	}
	return true
}

// object is the answer as events have it.
func (a *answer) object(status string, usage bool) map[string]any {
	m := map[string]any{"id": a.id, "object": "realtime.response", "status": status, "output": append([]any{}, a.output...)}
	if a.metadata != nil {
		m["metadata"] = a.metadata
	}
	switch status {
	case "cancelled":
		m["status_details"] = map[string]any{"type": status, "reason": "turn_detected"}
	case "incomplete":
		m["status_details"] = map[string]any{"type": status, "reason": a.reply.Reason}
	case "failed":
		m["status_details"] = map[string]any{"type": status, "error": map[string]any{"type": "server_error", "code": a.reply.Reason}}
	}
	if usage {
		u := &a.usage
		m["usage"] = map[string]any{"input_tokens": u.InputTokens, "output_tokens": u.OutputTokens, "total_tokens": u.TotalTokens,
			"input_token_details": u.InputTokenDetails, "output_token_details": u.OutputTokenDetails}
	}
	return m
}
