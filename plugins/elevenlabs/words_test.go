package elevenlabs

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/tts/driver"
)

// spoken is a message about text whose letters take 10 ms each, from ms on.
func spoken(from int, text string) *reply {
	a := &alignment{}
	for _, r := range text {
		a.Chars, a.Starts, a.Durations = append(a.Chars, string(r)), append(a.Starts, float64(from)), append(a.Durations, 10)
		from += 10
	}
	return &reply{Normalized: a}
}

func show(words []driver.Word) string {
	var s []string
	for _, w := range words {
		s = append(s, fmt.Sprintf("%s %d-%d", w.Text, w.Start.Milliseconds(), w.End.Milliseconds()))
	}
	return strings.Join(s, "|")
}

func TestLettersMakeWords(t *testing.T) {
	old := spoken(0, "Hi you ")
	old.Normalized.Starts2, old.Normalized.Durations2 = old.Normalized.Starts, old.Normalized.Durations
	old.Normalized.Starts, old.Normalized.Durations = nil, nil
	joined := &reply{Normalized: &alignment{Chars: []string{"A", "bc", " d", " "}, Starts: []float64{0, 10, 30, 50}, Durations: []float64{10, 20, 20, 0}}}
	both := spoken(0, "nine ")
	both.Alignment = spoken(0, "9 ").Normalized
	uneven := &reply{Normalized: &alignment{Chars: []string{"a", "b", "c"}, Starts: []float64{0, 10}, Durations: []float64{10}}}
	for _, c := range []struct {
		name  string
		given bool
		got   []*reply
		want  string
	}{
		{"one piece", false, []*reply{spoken(0, "Hi you ")}, "Hi 0-20|you 30-60"},
		{"words over pieces, times of the speech", false, []*reply{spoken(0, "Hello wo"), spoken(80, "rld again")}, "Hello 0-50|world 60-110|again 120-170"},
		{"words over pieces, times of the piece", false, []*reply{spoken(0, "Hello wo"), spoken(0, "rld again"), spoken(0, " now")}, "Hello 0-50|world 60-130|again 140-190|now 210-240"},
		{"older spelling", false, []*reply{old}, "Hi 0-20|you 30-60"},
		{"letters that the provider joins", false, []*reply{joined}, "Abc 0-30|d 30-50"},
		{"as it is spoken", false, []*reply{both}, "nine 0-40"},
		{"as it was given", true, []*reply{both}, "9 0-10"},
		{"no spaces", false, []*reply{spoken(0, "你好 ok")}, "你 0-10|好 10-20|ok 30-50"},
		{"lists of different lengths", false, []*reply{uneven}, "a 0-10"},
		{"none", false, []*reply{{}, {Normalized: &alignment{}}}, ""},
	} {
		l := letters{given: c.given}
		var words []driver.Word
		for _, r := range c.got {
			words = append(words, l.take(r)...)
			l.heard += 100 * time.Millisecond
		}
		if got := show(append(words, l.Flush()...)); got != c.want {
			t.Errorf("%s: got  %s\nwant %s", c.name, got, c.want)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(`{"audio":"AAAA","contextId":"c","normalizedAlignment":{"chars":["a"," "],"charStartTimesMs":[0,10],"charDurationsMs":[10,10]}}`)
	f.Add(`{"context_id":"c","isFinal":true,"audio":null}`)
	f.Add(`{"error":"quota_exceeded","message":"no","code":1008}`)
	f.Add(`{"contextId":"c","error":{"message":"bad"}}`)
	f.Add(`{"contextId":"c","alignment":{"chars":["\ud83d",""],"charsStartTimesMs":[1e300,-5],"charsDurationsMs":[-1,2]}}`)
	d, err := newTTS(&TTSOptions{APIKey: "k"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data string) {
		r, _, _, err := d.route(wire.Message{Data: []byte(data)})
		if err != nil {
			return
		}
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
		var l letters
		var last time.Duration
		for _, w := range append(l.take(r), l.Flush()...) {
			if w.Start < last || w.End < w.Start || !utf8.ValidString(w.Text) {
				t.Errorf("word %+v after %v", w, last)
			}
			last = w.Start
		}
	})
}
