package googlebox

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// vertexEnd is how long after its calls Vertex AI ends a turn: a quick tool is done before.
const vertexEnd = 50 * time.Millisecond

// liveAnswer is a turn of the model's under way: what it says, and at AI Studio also what it says after the tools
// that it called. Its state is guarded by the connection's lock.
type liveAnswer struct {
	t       *liver
	fault   fault.Kind
	began   time.Time
	end     func()
	stopped chan struct{}  // closed when it is interrupted
	over    bool           // it is stopped, or done
	cut     bool           // it was interrupted
	waits   bool           // for outputs of tools
	late    *sandbox.Heard // what is written down late

	// Of the goroutine that speaks.
	reply  sandbox.Reply
	in     metrics.InputTokenDetails
	out    metrics.OutputTokenDetails
	think  int64
	spoken *sandbox.Turn // nil for none
}

// answer begins an answer, when the one under way is over. With the lock.
func (t *liver) answer() {
	if t.active != nil && !t.active.waits {
		t.again = true
		return
	}
	a := &liveAnswer{t: t, began: time.Now(), stopped: make(chan struct{})}
	a.fault, a.end = t.ws.Stream()
	old := t.active // waits for outputs
	t.active = a
	a.ask()
	if old != nil { // it is billed with what follows
		old.waits, old.over = false, true
		a.out, a.think = old.out, old.think
		old.end()
	}
	t.wg.Go(a.run)
}

// ask makes up what to say to the conversation as it is. With the lock.
func (a *liveAnswer) ask() {
	t := a.t
	r := sandbox.TalkRequest{Instructions: t.setup.instructions()}
	var tools int64
	r.Tools, tools = t.setup.functions()
	in := &a.in
	*in = metrics.InputTokenDetails{TextTokens: tools + words(r.Instructions)}
	for _, x := range t.turns {
		if x.Role == "system" { // takes the place of what was said before
			r.Instructions = x.Text
		} else {
			r.Turns = append(r.Turns, x)
		}
		in.ImageTokens += 258 * int64(x.Images)
		if in.AudioTokens += sounds(x.Audio); x.Audio == 0 {
			in.TextTokens += words(x.Text)
		}
	}
	old := t.read
	in.CachedTokensDetails = &metrics.CachedTokenDetails{TextTokens: min(old.TextTokens, in.TextTokens),
		AudioTokens: min(old.AudioTokens, in.AudioTokens), ImageTokens: min(old.ImageTokens, in.ImageTokens)}
	in.CachedTokens = in.CachedTokensDetails.TextTokens + in.CachedTokensDetails.AudioTokens + in.CachedTokensDetails.ImageTokens
	a.reply = sandbox.Reply{}
	if a.fault != fault.Empty {
		a.reply = t.s.o.Answer(r)
	}
}

// stop interrupts the answer under way, if any. With the lock.
func (t *liver) stop() {
	t.again = false
	a := t.active
	if a == nil || a.over {
		return
	}
	a.over, a.cut = true, true
	close(a.stopped)
	a.send(map[string]any{"interrupted": true}, false)
	if a.waits {
		a.waits = false
		var ids []string
		for _, c := range t.calls {
			ids = append(ids, c.id)
		}
		_ = t.ws.Send(map[string]any{"toolCallCancellation": map[string]any{"ids": ids}}, false)
		t.wg.Go(a.finish)
	}
	t.calls = nil
}

// goOn goes on after tools, or ends the turn. With the lock.
func (a *liveAnswer) goOn(speak bool) {
	a.waits = false
	if !speak {
		a.t.wg.Go(a.finish)
		return
	}
	out := a.out
	a.ask()
	a.out = out
	a.t.wg.Go(a.run)
}

func (a *liveAnswer) run() {
	t := a.t
	if a.fault == fault.Silence {
		t.ws.Hang()
		a.finish()
		return
	}
	if thought := t.s.o.Thought; thought != "" && a.live() && a.reply.Status == "" && a.fault != fault.Empty {
		a.think += words(thought)
		a.send(map[string]any{"modelTurn": parts(map[string]any{"text": thought, "thought": true})}, false)
	}
	whole := a.reply.Status != "" || a.say()
	if whole && len(a.reply.Calls) > 0 && a.reply.Status == "" {
		if a.call() {
			return
		}
		if t.s.o.Pace > 0 {
			t.ws.Pause(vertexEnd, a.stopped)
		}
	}
	a.finish()
}

// live reports whether the answer was not interrupted.
func (a *liveAnswer) live() bool {
	select {
	case <-a.stopped:
		return false
	default:
		return true
	}
}

func parts(list ...any) map[string]any { return map[string]any{"role": "model", "parts": list} }

// send sends server content.
func (a *liveAnswer) send(m map[string]any, content bool) bool {
	return a.t.ws.Send(map[string]any{"serverContent": m}, content) == nil
}

// say speaks; false if it was interrupted.
func (a *liveAnswer) say() bool {
	t := a.t
	pieces := t.s.o.Speak(a.reply.Text, speakRate)
	for i, w := range strings.Fields(a.reply.Text) {
		pcm := pieces[i]
		d := audio.Samples(len(pcm) / 2).At(speakRate)
		pace := t.s.o.Pace
		if a.fault == fault.Slow {
			pace = 1
		}
		if pace > 0 && !t.ws.Pause(time.Duration(float64(d)/pace), a.stopped) || !a.live() {
			return false
		}
		if i > 0 {
			w = " " + w
		}
		mime := "audio/pcm;rate=24000"
		if t.vertex {
			mime = "audio/pcm"
		}
		if !a.send(map[string]any{"outputTranscription": map[string]any{"text": w}}, false) ||
			!a.send(map[string]any{"modelTurn": parts(map[string]any{"inlineData": map[string]any{"mimeType": mime, "data": base64.StdEncoding.EncodeToString(pcm)}})}, true) {
			return false
		}
		a.out.AudioTokens += sounds(d)
		t.mu.Lock()
		if a.spoken == nil {
			a.spoken = &sandbox.Turn{Role: "assistant"}
		}
		a.spoken.Text += w
		a.spoken.Audio += d
		if late := a.late; late != nil {
			a.late = nil
			t.transcribe(*late, true)
		}
		t.mu.Unlock()
	}
	return true
}

// call calls tools; false if it was interrupted, or the turn ends with the call, as on Vertex AI.
func (a *liveAnswer) call() bool {
	t := a.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.over {
		return false
	}
	a.keep()
	var list []any
	for _, c := range a.reply.Calls {
		id := c.CallID
		if id == "" {
			id = metrics.NewID("function-call-")
		}
		t.calls = append(t.calls, &liveCall{id, c.Name})
		t.turns = append(t.turns, sandbox.Turn{Role: "call", Text: c.Arguments, Tool: c.Name})
		a.out.TextTokens += 5 + words(c.Arguments)
		f := map[string]any{"name": c.Name, "args": json.RawMessage(c.Arguments)}
		if !t.vertex {
			f["id"] = id
		}
		list = append(list, f)
	}
	if t.ws.Send(map[string]any{"toolCall": map[string]any{"functionCalls": list}}, true) != nil {
		return false
	}
	a.waits = !t.vertex
	return a.waits
}

// keep puts what was said into the conversation. With the lock.
func (a *liveAnswer) keep() {
	if a.spoken != nil {
		a.t.turns = append(a.t.turns, *a.spoken)
		a.spoken = nil
	}
}

// finish tells the end, and bills.
func (a *liveAnswer) finish() {
	t := a.t
	defer a.end()
	t.mu.Lock()
	a.keep()
	if !a.cut && a.reply.Status == "" {
		a.send(map[string]any{"generationComplete": true}, false)
	}
	a.over = true
	t.read = a.in
	t.save()
	t.mu.Unlock()
	billed := a.cost()
	// What a client that left at the same moment of virtual time was told, it did not read.
	came := billed.OutputTokens > 0 && time.Since(a.began) > 0
	if came {
		t.c.Ledger.Bill(billed)
	}
	end := map[string]any{"turnComplete": true}
	if a.reply.Reason != "" {
		end["turnCompleteReason"] = reasons(a.reply.Reason)
	}
	done := map[string]any{"serverContent": end}
	states := a.fault != fault.UsageMissing
	if states {
		done["usageMetadata"] = a.usage()
	}
	if t.ws.Send(done, true) != nil {
		if !came { // nobody knows of it
			t.c.Unanswered.Bill(billed)
		}
		t.ws.Hang()
		return
	}
	if !came {
		t.c.Ledger.Bill(billed)
	}
	if states {
		t.c.Ledger.State(a.cost())
	}
	if a.fault == fault.DoubleFinal || a.fault == fault.UsageRepeated {
		_ = t.ws.Send(done, true)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active = nil
	if t.again {
		t.again = false
		t.answer()
	}
}

// reasons is why there was no answer, in the provider's words.
func reasons(why string) string {
	if why == "server_error" {
		return "MALFORMED_FUNCTION_CALL" // the one that may go away
	}
	return why
}

// cost is what the answer is billed as.
func (a *liveAnswer) cost() *metrics.Realtime {
	t := a.t
	e := &metrics.Realtime{InputTokenDetails: a.in, OutputTokenDetails: a.out}
	e.OutputTokenDetails.TextTokens += a.think
	e.InputTokens = a.in.TextTokens + a.in.AudioTokens + a.in.ImageTokens
	e.OutputTokens = e.OutputTokenDetails.TextTokens + e.OutputTokenDetails.AudioTokens
	e.TotalTokens = e.InputTokens + e.OutputTokens
	e.Metadata = metrics.Metadata{ModelName: strings.TrimPrefix(t.setup.Model, "models/"), ModelProvider: "google"}
	if t.vertex {
		e.Metadata = metrics.Metadata{ModelName: vertexModel.FindStringSubmatch(t.setup.Model)[1], ModelProvider: "google-vertex"}
	}
	return e
}

// usage is the same in the provider's words: thoughts are in no sum, and of no modality.
func (a *liveAnswer) usage() map[string]any {
	in, out := &a.in, &a.out
	prompt, said := in.TextTokens+in.AudioTokens+in.ImageTokens, out.TextTokens+out.AudioTokens
	response := "response"
	if a.t.vertex {
		response = "candidates"
	}
	m := map[string]any{
		"promptTokenCount": prompt, response + "TokenCount": said, "totalTokenCount": prompt + said,
		"promptTokensDetails":      modality(in.TextTokens, in.AudioTokens, in.ImageTokens),
		response + "TokensDetails": modality(out.TextTokens, out.AudioTokens, 0),
	}
	if c := in.CachedTokensDetails; in.CachedTokens > 0 {
		m["cachedContentTokenCount"], m["cacheTokensDetails"] = in.CachedTokens, modality(c.TextTokens, c.AudioTokens, c.ImageTokens)
	}
	if a.think > 0 {
		m["thoughtsTokenCount"] = a.think
	}
	return m
}

// modality are tokens by modality; those without any are left out, or have no count.
func modality(text, audio, video int64) []any {
	list := []any{map[string]any{"modality": "TEXT", "tokenCount": text}}
	if audio > 0 {
		list = append(list, map[string]any{"modality": "AUDIO", "tokenCount": audio})
	} else {
		list = append(list, map[string]any{"modality": "AUDIO"})
	}
	if video > 0 {
		list = append(list, map[string]any{"modality": "VIDEO", "tokenCount": video})
	}
	return list
}

func words(text string) int64 { return sandbox.GoogleTokens.Count(text) }

// sounds is what audio costs: a token for every begun 40 ms.
func sounds(d time.Duration) int64 {
	return int64((d + 40*time.Millisecond - 1) / (40 * time.Millisecond))
}
