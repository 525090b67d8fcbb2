package nvidia

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/audio/opus"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/nvidiabox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

// inBubble runs f with a server on virtual time, and a context in which it is reached.
func inBubble(t *testing.T, o nvidiabox.ConverseOptions, f func(t *testing.T, ctx context.Context, box *sandbox.Server, d *converser)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box, dial := sandbox.InMemory(t)
		defer box.Close()
		nvidiabox.Converse(box, "", o)
		ctx, cancel := context.WithTimeout(wire.WithDial(t.Context(), dial), time.Minute)
		defer cancel()
		f(t, ctx, box, made(t, box, RealtimeOptions{}))
	})
}

func made(t testing.TB, box *sandbox.Server, o RealtimeOptions) *converser {
	t.Helper()
	o.BaseURL, o.Header = box.URL(), http.Header{"Authorization": {"Bearer " + box.Key}}
	d, err := newRealtime(&o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func connect(t testing.TB, ctx context.Context, d *converser, s driver.Setup) driver.Conn {
	t.Helper()
	if s.History == nil {
		s.History = &chat.Context{}
	}
	c, err := d.Connect(ctx, &s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// speech is what the user says, and a moment after it: 0.8 s of each, as sandbox.EarSpeech, whose tone is too high
// for Opus.
func speech() audio.Frame {
	pcm := wire.Samples(nil, sandbox.Voice("turn on the lights..", opus.Rate))
	return audio.Frame{Data: append(pcm, make([]int16, len(pcm))...), Rate: opus.Rate, Channels: 1}
}

// until reads events until there is one of the type; text and audio of it are summed up.
func until[E driver.Event](t testing.TB, ctx context.Context, c driver.Conn) (e E, kinds []string, text string, sound time.Duration) {
	t.Helper()
	for {
		next, err := c.Next(ctx)
		if err != nil {
			t.Fatalf("after %v: %v", kinds, err)
		}
		kind := strings.TrimPrefix(reflect.TypeOf(next).String(), "*driver.")
		if len(kinds) == 0 || kinds[len(kinds)-1] != kind {
			kinds = append(kinds, kind)
		}
		switch x := next.(type) {
		case *driver.Text:
			text += x.Delta
		case *driver.Audio:
			sound += x.Frame.Duration()
		}
		if e, ok := next.(E); ok {
			return e, kinds, text, sound
		}
	}
}

// A user asks and is silent, his microphone too. The model answers, and the session books the time.
func TestRealtimeSession(t *testing.T) {
	inBubble(t, nvidiabox.ConverseOptions{}, func(t *testing.T, ctx context.Context, box *sandbox.Server, d *converser) {
		var log modeltest.Log
		s, err := realtime.New(d, nil).Session(log.Context(ctx), &realtime.SessionOptions{Instructions: "Be brief."})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Push(speech()); err != nil {
			t.Fatal(err)
		}
		placed := ""
		for {
			e, err := s.Next()
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := e.(*realtime.ItemAdded); ok {
				placed = e.Item.Head().ID
			}
			g, ok := e.(*realtime.GenerationCreated)
			if !ok {
				continue
			}
			msg, err := g.Generation.NextMessage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			said := ""
			for piece, err := msg.NextText(ctx); err == nil; piece, err = msg.NextText(ctx) {
				said += piece
			}
			var spoken time.Duration
			for f, err := msg.NextAudio(ctx); err == nil; f, err = msg.NextAudio(ctx) {
				spoken += f.Duration()
			}
			if said != sandbox.TalkText || spoken < 500*time.Millisecond || placed == "" {
				t.Errorf("said %q in %v, the user's place is %q", said, spoken, placed)
			}
			<-g.Generation.Done()
			break
		}
		_ = s.Close()
		_ = box.Close()
		var booked metrics.Collector
		for _, e := range modeltest.Events[metrics.Event](&log) {
			booked.Add(e)
		}
		got, want := booked.Usage().Models, box.Ledger.Billed().Models
		if len(got) != 1 || len(want) != 1 {
			t.Fatalf("booked %+v\nbilled %+v", got, want)
		}
		g, w := got[0].(metrics.LLMUsage), want[0].(metrics.LLMUsage)
		if diff := g.SessionDuration - w.SessionDuration; diff.Abs() > 100*time.Millisecond || w.SessionDuration < 500*time.Millisecond {
			t.Errorf("booked %v, billed %v", g.SessionDuration, w.SessionDuration)
		}
		if n := modeltest.Events[*metrics.Connection](&log); len(n) != 1 || n[0].Reused || n[0].Kind != "realtime" {
			t.Errorf("connection events %+v", n)
		}
	})
}

func TestEventsOfAnAnswer(t *testing.T) {
	inBubble(t, nvidiabox.ConverseOptions{}, func(t *testing.T, ctx context.Context, _ *sandbox.Server, d *converser) {
		c := connect(t, ctx, d, driver.Setup{})
		defer c.Close()
		_ = c.Push(ctx, speech())
		e, kinds, text, sound := until[*driver.ResponseDone](t, ctx, c)
		got := strings.Join(kinds, " ")
		if !strings.HasPrefix(got, "SpeechStarted SpeechStopped ItemAdded ResponseCreated MessageStarted ") || !strings.HasSuffix(got, " MessageDone ResponseDone") || e.Status != driver.Completed || e.Usage != nil {
			t.Errorf("events %s, end %+v", got, e)
		}
		// 19 letters of 40 ms, a lead of 200 ms at most, and the silence that ends it
		if text != sandbox.TalkText || sound < 1200*time.Millisecond || sound > 1700*time.Millisecond {
			t.Errorf("%q in %v", text, sound)
		}
		short, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		if e, err := c.Next(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%T %v between answers", e, err)
		}
	})
}

// The model stops by itself when the user speaks, and answers what he says then.
func TestUserInterrupts(t *testing.T) {
	long := sandbox.Talk{Answer: func(r sandbox.TalkRequest) sandbox.Reply {
		if len(r.Turns) == 1 {
			return sandbox.Reply{Text: strings.Repeat("and so on ", 40)}
		}
		return sandbox.Reply{Text: sandbox.TalkText}
	}}
	inBubble(t, nvidiabox.ConverseOptions{Talk: long}, func(t *testing.T, ctx context.Context, _ *sandbox.Server, d *converser) {
		c := connect(t, ctx, d, driver.Setup{})
		defer c.Close()
		_ = c.Push(ctx, speech())
		until[*driver.Audio](t, ctx, c)
		_ = c.Push(ctx, speech())
		_, _, text, _ := until[*driver.ResponseDone](t, ctx, c)
		if n := len(strings.Fields(text)); n == 0 || n > 60 {
			t.Errorf("%d words before the user was heard", n)
		}
		if _, kinds, text, _ := until[*driver.ResponseDone](t, ctx, c); text != sandbox.TalkText || kinds[0] != "SpeechStarted" {
			t.Errorf("then %v, %q", kinds, text)
		}
	})
}

// What the model is told, it is told when the connection is made.
func TestConnectionIsAskedFor(t *testing.T) {
	var asked url.Values
	o := nvidiabox.ConverseOptions{Voices: []string{"NATF2.pt", "mine.wav"}, Asked: func(q url.Values) { asked = q }}
	inBubble(t, o, func(t *testing.T, ctx context.Context, box *sandbox.Server, d *converser) {
		history := &chat.Context{}
		history.Add(chat.NewMessage(chat.User, strings.Repeat("long ago ", 200)), chat.NewMessage(chat.User, "What is\nyour name?"),
			&chat.FunctionCall{Header: chat.Header{ID: "c"}, CallID: "c", Name: "f"}, chat.NewMessage(chat.Assistant, "Kelly."))
		_ = connect(t, ctx, d, driver.Setup{Instructions: " Be kind. ", History: history}).Close()
		want := url.Values{"voice_prompt": {"NATF2.pt"}, "text_prompt": {"Be kind. The conversation so far: User: What is your name? You: Kelly."}}
		if !reflect.DeepEqual(asked, want) {
			t.Errorf("asked %v", asked)
		}
		d = made(t, box, RealtimeOptions{Voice: "mine.wav", Seed: opt.Some[int64](7), History: opt.Off[int]()})
		_ = connect(t, ctx, d, driver.Setup{History: history}).Close()
		want = url.Values{"voice_prompt": {"mine.wav"}, "text_prompt": {smallTalk}, "seed": {"7"}}
		if !reflect.DeepEqual(asked, want) {
			t.Errorf("asked %v", asked)
		}
		// History gives way to instructions, and those that do not fit are nobody's but the caller's fault.
		d = made(t, box, RealtimeOptions{History: opt.Some(100000)})
		for n, want := range map[int]bool{7000: true, 7600: false} {
			c, err := d.Connect(ctx, &driver.Setup{Instructions: strings.Repeat("x", n), History: history})
			if want != (err == nil) {
				t.Errorf("instructions of %d bytes: %v", n, err)
			}
			var e *model.Error
			if err == nil {
				_ = c.Close()
			} else if !errors.As(err, &e) || e.Kind != model.KindRequest || model.Retryable(err) {
				t.Errorf("error %+v", err)
			}
		}
	})
}

// There is one conversation at a time.
func TestServerIsBusy(t *testing.T) {
	inBubble(t, nvidiabox.ConverseOptions{}, func(t *testing.T, ctx context.Context, _ *sandbox.Server, d *converser) {
		c := connect(t, ctx, d, driver.Setup{})
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := d.Connect(short, &driver.Setup{History: &chat.Context{}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		_ = c.Close()
		_ = connect(t, ctx, d, driver.Setup{}).Close()
	})
}

func TestServerRefuses(t *testing.T) {
	inBubble(t, nvidiabox.ConverseOptions{Last: "out of memory for key"}, func(t *testing.T, ctx context.Context, box *sandbox.Server, d *converser) {
		if _, err := made(t, box, RealtimeOptions{Voice: "nobody"}).Connect(ctx, &driver.Setup{History: &chat.Context{}}); err == nil {
			t.Error("a voice that there is not")
		}
		c := connect(t, ctx, d, driver.Setup{})
		defer c.Close()
		_ = c.Push(ctx, speech())
		_, err := c.Next(ctx)
		var e *model.Error
		if !errors.As(err, &e) || e.Kind != model.KindProtocol || !strings.Contains(e.Error(), "out of memory") {
			t.Errorf("error %v", err)
		}
	})
}

// A server that falls silent is noticed, though nothing was asked for: it answers all audio.
func TestServerFallsSilent(t *testing.T) {
	inBubble(t, nvidiabox.ConverseOptions{}, func(t *testing.T, ctx context.Context, box *sandbox.Server, d *converser) {
		box.Plan(fault.Once(fault.Silence))
		c := connect(t, ctx, d, driver.Setup{})
		defer c.Close()
		_ = c.Push(ctx, speech())
		began := time.Now()
		_, err := c.Next(ctx)
		var e *model.Error
		if took := time.Since(began); !errors.As(err, &e) || e.Kind != model.KindTimeout || took > 11*time.Second {
			t.Errorf("error %v after %v", err, took)
		}
	})
}

func TestServerHangsUp(t *testing.T) {
	inBubble(t, nvidiabox.ConverseOptions{}, func(t *testing.T, ctx context.Context, box *sandbox.Server, d *converser) {
		c := connect(t, ctx, d, driver.Setup{})
		defer c.Close()
		box.HangUp()
		if _, err := c.Next(ctx); !errors.Is(err, io.EOF) {
			t.Errorf("error %v", err)
		}
	})
}

// What the model cannot do is said, and costs nothing.
func TestWhatItCannot(t *testing.T) {
	inBubble(t, nvidiabox.ConverseOptions{}, func(t *testing.T, ctx context.Context, _ *sandbox.Server, d *converser) {
		c := connect(t, ctx, d, driver.Setup{Tools: []llm.ToolSpec{{Name: "f"}}})
		defer c.Close()
		e, err := c.Next(ctx)
		var refused *model.Error
		if told, ok := e.(*driver.Error); err != nil || !ok || !errors.As(told.Err, &refused) || refused.Kind != model.KindRequest {
			t.Errorf("event %#v, %v", e, err)
		}
		if err := c.Generate(ctx, &driver.Request{ID: "r"}); !errors.Is(err, driver.ErrUnsupported) {
			t.Errorf("generate: %v", err)
		}
		var items *driver.UnsupportedItems
		if err := c.Add(ctx, []driver.Item{{Item: chat.NewMessage(chat.User, "hi")}}); !errors.As(err, &items) || len(items.IDs) != 1 {
			t.Errorf("add: %v", err)
		}
		for name, can := range map[string]bool{"cancel": is[driver.Canceller](c), "turns": is[driver.Turner](c), "update": is[driver.Updater](c)} {
			if can {
				t.Errorf("it says that it can %s", name)
			}
		}
	})
}

func is[T any](x any) bool { _, ok := x.(T); return ok }

// Letters without a token come byte by byte.
func TestLetters(t *testing.T) {
	c := &conversation{}
	got := ""
	for _, token := range []string{" caf", "<0xC3>", "<0xA9>", "\x00", "\x03", " <b>", "<0xC3>", " broken", "!"} {
		got += c.letters([]byte(token))
	}
	if want := " café <b>!"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAddress(t *testing.T) {
	t.Setenv("PERSONAPLEX_URL", "")
	if d, err := newRealtime(nil); err != nil || d.base.String() != "ws://localhost:8998" {
		t.Errorf("%v, %v", d, err)
	}
	t.Setenv("PERSONAPLEX_URL", "https://gpu:1/x?api_key=hidden-key-1")
	d, err := newRealtime(&RealtimeOptions{Header: http.Header{"Authorization": {"Bearer hidden-key-2"}}})
	if err != nil {
		t.Fatal(err)
	}
	if e := d.Status("dial", 403, "no hidden-key-1, no hidden-key-2").Error(); strings.Contains(e, "hidden") {
		t.Error(e)
	}
	t.Setenv("PERSONAPLEX_URL", "gpu:8998")
	if _, err := newRealtime(nil); err == nil {
		t.Error("no error without a scheme")
	}
}
