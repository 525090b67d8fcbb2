package nvidia

import (
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/audio/opus"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime/driver"
)

const (
	// window is the audio that is judged at once.
	window = opus.FrameSamples
	// lead is how much of the audio before the first sound belongs to an answer, in samples.
	lead = opus.Rate / 5
)

// isLoud reports whether there is sound in pcm.
func isLoud(pcm []int16) bool {
	sum := 0
	for _, v := range pcm {
		sum += max(int(v), -int(v))
	}
	return len(pcm) > 0 && sum/len(pcm) >= loud
}

// answer finds answers in the stream of a model that never stops to send: one begins with sound or text, and ends
// with silence.
type answer struct {
	silence   time.Duration
	put       func(driver.Event)
	addressed func() bool // the user spoke before it

	id, item string // "" between answers
	spoke    bool   // there was text
	before   []int16
	rest     []int16 // less than a window
	quiet    int     // samples
}

// say takes text.
func (a *answer) say(text string) {
	a.begin()
	a.quiet = 0
	if !a.spoke {
		text = strings.TrimLeft(text, " ")
	}
	a.spoke = a.spoke || text != ""
	a.put(&driver.Text{ResponseID: a.id, ItemID: a.item, Delta: text})
}

// sound takes audio.
func (a *answer) sound(pcm []int16) {
	a.rest = append(a.rest, pcm...)
	for len(a.rest) >= window {
		a.judge(a.rest[:window:window])
		a.rest = a.rest[window:]
	}
}

func (a *answer) judge(pcm []int16) {
	sound := isLoud(pcm)
	if a.id == "" && !sound {
		a.before = append(a.before, pcm...)
		a.before = a.before[max(len(a.before)-lead, 0):]
		return
	}
	a.begin()
	a.put(&driver.Audio{ResponseID: a.id, ItemID: a.item, Frame: audio.Frame{Data: pcm, Rate: opus.Rate, Channels: 1}})
	if sound {
		a.quiet = 0
		return
	}
	if a.quiet += len(pcm); a.quiet >= audio.SamplesIn(a.silence, opus.Rate) {
		a.end()
	}
}

// begin begins an answer, if none goes on.
func (a *answer) begin() {
	if a.id != "" {
		return
	}
	a.id, a.item, a.quiet = metrics.NewID("resp_"), metrics.NewID("item_"), 0
	if a.addressed() { // only now it shows that it was a turn; what he said is not told
		said := &chat.Message{Header: chat.Header{ID: metrics.NewID("item_")}, Role: chat.User}
		a.put(&driver.SpeechStarted{})
		a.put(&driver.SpeechStopped{ItemID: said.ID})
		a.put(&driver.ItemAdded{Item: said})
	}
	a.put(&driver.ResponseCreated{ResponseID: a.id})
	a.put(&driver.MessageStarted{ResponseID: a.id, ItemID: a.item})
	if len(a.before) > 0 {
		a.put(&driver.Audio{ResponseID: a.id, ItemID: a.item, Frame: audio.Frame{Data: a.before, Rate: opus.Rate, Channels: 1}})
		a.before = nil
	}
}

func (a *answer) end() {
	a.put(&driver.MessageDone{ResponseID: a.id, ItemID: a.item})
	a.put(&driver.ResponseDone{ResponseID: a.id, Status: driver.Completed})
	a.id, a.item, a.spoke = "", "", false
}
