package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/plugins/aws/internal/novabox"
	"github.com/parley-go/parley/realtime/driver"
)

// seen are the events of a client, but for its audio.
type seen struct {
	mu     sync.Mutex
	names  []string
	bodies []map[string]any
	audio  int
}

func (s *seen) note(name string, body map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name == "audioInput" {
		s.audio++
		return
	}
	s.names, s.bodies = append(s.names, name), append(s.bodies, body)
}

// of are the bodies of an event.
func (s *seen) of(name string) (all []map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, n := range s.names {
		if n == name {
			all = append(all, s.bodies[i])
		}
	}
	return all
}

// await waits for so many of an event.
func (s *seen) await(t testing.TB, name string, n int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); len(s.of(name)) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %s", len(s.of(name)), name)
		}
	}
}

// texts are the contents that were written, with their roles.
func (s *seen) texts() (all []string) {
	roles := map[any]any{}
	for _, b := range s.of("contentStart") {
		roles[b["contentName"]] = fmt.Sprintf("%v %v", b["role"], b["interactive"])
	}
	for _, b := range s.of("textInput") {
		all = append(all, fmt.Sprint(roles[b["contentName"]], ": ", b["content"]))
	}
	return all
}

func start(t testing.TB, o novabox.Options) (*sandbox.Server, *seen) {
	t.Helper()
	box, s := sandbox.Start(t, fault.Plan{}), &seen{}
	o.Seen = s.note
	novabox.Converse(box, o)
	return box, s
}

// dialled is a connection, and a context for what the test does with it.
func dialled(t testing.TB, d *converser, s driver.Setup) (context.Context, driver.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	if s.History == nil {
		s.History = &chat.Context{}
	}
	c, err := d.Connect(ctx, &s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return ctx, c
}

func speak(t testing.TB, ctx context.Context, c driver.Conn) {
	t.Helper()
	f := sandbox.EarSpeech(inputRate)
	for part := range slices.Chunk(f.Data, 512) {
		f.Data = part
		if err := c.Push(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
}

// until reads events until there is one of the type, and returns it, the kinds of all, and the text.
func until[E driver.Event](t testing.TB, ctx context.Context, c driver.Conn) (e E, kinds []string, text string) {
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
		if x, ok := next.(*driver.Text); ok {
			text += x.Delta
		}
		if e, ok := next.(E); ok {
			return e, kinds, text
		}
	}
}

func TestEventsOfATurn(t *testing.T) {
	t.Parallel()
	box, _ := start(t, novabox.Options{})
	ctx, c := dialled(t, made(t, box, RealtimeOptions{}), driver.Setup{})
	speak(t, ctx, c)
	done, kinds, text := until[*driver.ResponseDone](t, ctx, c)
	want := []string{"SpeechStarted", "Transcript", "SpeechStopped", "Transcript", "ResponseCreated", "MessageStarted", "Text", "Audio", "Text", "Audio", "MessageDone", "ResponseDone"}
	if !slices.Equal(kinds, want) || text != sandbox.TalkText {
		t.Errorf("%q in %v", text, kinds)
	}
	u := done.Usage
	if done.Status != driver.Completed || u == nil || u.Input.AudioTokens == 0 || u.Input.TextTokens == 0 || u.Output.AudioTokens == 0 || u.Output.TextTokens == 0 ||
		u.InputTokens != u.Input.AudioTokens+u.Input.TextTokens || u.TotalTokens != u.InputTokens+u.OutputTokens || len(u.Raw) == 0 {
		t.Errorf("end %+v, usage %+v", done, u)
	}
}

func TestWhatTheModelIsTold(t *testing.T) {
	t.Parallel()
	box, s := start(t, novabox.Options{})
	history := &chat.Context{}
	history.Add(chat.NewMessage(chat.Assistant, "Hello."), chat.NewMessage(chat.User, "I am Ada."), chat.NewMessage(chat.User, "Ada Lovelace."),
		&chat.FunctionCall{Header: chat.Header{ID: "a"}, CallID: "c", Name: "find"}, &chat.FunctionCallOutput{Header: chat.Header{ID: "b"}, CallID: "c", Name: "find", Output: "found"},
		chat.NewMessage(chat.Assistant, "Welcome."))
	d := made(t, box, RealtimeOptions{Voice: "amy", Endpointing: "low", MaxTokens: 99, Temperature: opt.Some(0.1), TopP: opt.Some(0.2)})
	_, c := dialled(t, d, driver.Setup{Instructions: "Be kind.", History: history, ToolChoice: llm.ToolChoice{Mode: llm.ToolFunction, Function: "f"},
		Tools: []llm.ToolSpec{{Name: "f", Parameters: []byte(`{"type":"object"}`)}}})
	_ = c.Close()
	s.await(t, "sessionEnd", 1)
	if got, want := s.texts(), []string{"SYSTEM false: Be kind.", "USER false: " + before, "ASSISTANT false: Hello.",
		"USER false: I am Ada.\nAda Lovelace.\n(Result of find: found)", "ASSISTANT false: Welcome."}; !slices.Equal(got, want) {
		t.Errorf("told %q", got)
	}
	session, prompt := s.of("sessionStart")[0], s.of("promptStart")[0]
	if want := (object{"inferenceConfiguration": object{"maxTokens": 99., "topP": 0.2, "temperature": 0.1}, "turnDetectionConfiguration": object{"endpointingSensitivity": "LOW"}}); !reflect.DeepEqual(session, want) {
		t.Errorf("session %v", session)
	}
	config := prompt["toolConfiguration"].(object)
	if voice := prompt["audioOutputConfiguration"].(object)["voiceId"]; voice != "amy" || !reflect.DeepEqual(config["toolChoice"], object{"tool": object{"name": "f"}}) {
		t.Errorf("prompt %v", prompt)
	}
	// Without anything.
	_, c = dialled(t, d, driver.Setup{Tools: []llm.ToolSpec{{Name: "f", Parameters: []byte(`{}`)}}, ToolChoice: llm.ToolChoice{Mode: llm.ToolNone}})
	_ = c.Close()
	s.await(t, "sessionEnd", 2)
	if got := s.texts(); got[len(got)-1] != "SYSTEM false: "+manners || s.of("promptStart")[1]["toolConfiguration"] != nil {
		t.Errorf("told %q, %v", got, s.of("promptStart")[1])
	}
}

// Long conversations are told as far as the model takes them.
func TestHistoryIsCut(t *testing.T) {
	h := &chat.Context{}
	for i := range 50 {
		role := chat.Assistant
		if i%2 == 1 {
			role = chat.User
		}
		h.Add(chat.NewMessage(role, fmt.Sprintf("%d %s", i, strings.Repeat("ä", 900))))
	}
	first, _ := newRealtime(&RealtimeOptions{Model: "amazon.nova-sonic-v1:0"})
	list := first.history(h)
	if len(list) != 39 || list[0].role != user || !strings.HasPrefix(list[0].text, "11 ") || len(list[0].text) > maxBytesV1 || !strings.HasPrefix(list[38].text, "49 ") {
		t.Errorf("%d messages, from %.20q", len(list), list[0].text)
	}
	second, _ := newRealtime(nil)
	if list = second.history(h); len(list[0].text) < 1800 {
		t.Errorf("%d bytes", len(list[0].text))
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	box, s := start(t, novabox.Options{Echo: true})
	h := &chat.Context{}
	h.Add(chat.NewMessage(chat.User, "What time is it?"))
	ctx, c := dialled(t, made(t, box, RealtimeOptions{}), driver.Setup{Instructions: "Be brief.", History: h})
	for _, r := range []*driver.Request{{ID: "one"}, {ID: "two", Instructions: "Greet the user."}, {ID: "three"}} { // which wait for each other
		if err := c.Generate(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"one", "two", "three"} {
		created, kinds, _ := until[*driver.ResponseCreated](t, ctx, c)
		if created.RequestID != id || !slices.Equal(kinds, []string{"ResponseCreated"}) { // nothing that the user said
			t.Errorf("answer to %q after %v", created.RequestID, kinds)
		}
		until[*driver.ResponseDone](t, ctx, c)
	}
	want := []string{"SYSTEM false: Be brief.", "USER false: What time is it?", "USER true: What time is it?", "USER true: (Greet the user.)", "USER true: " + goOn}
	if got := s.texts(); !slices.Equal(got, want) {
		t.Errorf("told %q", got)
	}
	_, c = dialled(t, made(t, box, RealtimeOptions{Model: "amazon.nova-sonic-v1:0"}), driver.Setup{})
	if err := c.Generate(ctx, &driver.Request{}); !errors.Is(err, driver.ErrUnsupported) {
		t.Errorf("the first model: %v", err)
	}
}

// A request that waits for another is not sent once nobody wants it. One that was sent is answered.
func TestWithdraw(t *testing.T) {
	t.Parallel()
	box, s := start(t, novabox.Options{Echo: true})
	ctx, c := dialled(t, made(t, box, RealtimeOptions{}), driver.Setup{Instructions: "Be brief."})
	for _, id := range []string{"one", "two", "three"} {
		if err := c.Generate(ctx, &driver.Request{ID: id, Instructions: id}); err != nil {
			t.Fatal(err)
		}
	}
	w := c.(driver.Withdrawer)
	if w.Withdraw("one") {
		t.Error("the first was sent, and is said to be kept")
	}
	if !w.Withdraw("two") || w.Withdraw("two") {
		t.Error("the second waits, and is kept once")
	}
	for _, id := range []string{"one", "three"} {
		if created, _, _ := until[*driver.ResponseCreated](t, ctx, c); created.RequestID != id {
			t.Errorf("answer to %q, want %q", created.RequestID, id)
		}
		until[*driver.ResponseDone](t, ctx, c)
	}
	if got, want := s.texts(), []string{"SYSTEM false: Be brief.", "USER true: (one)", "USER true: (three)"}; !slices.Equal(got, want) {
		t.Errorf("told %q", got)
	}
}

func TestUserInterrupts(t *testing.T) {
	t.Parallel()
	long := sandbox.Talk{Answer: func(r sandbox.TalkRequest) sandbox.Reply {
		if len(r.Turns) == 1 {
			return sandbox.Reply{Text: strings.Repeat("and so on ", 40)}
		}
		return sandbox.Reply{Text: sandbox.TalkText}
	}}
	t.Run("while it is made", func(t *testing.T) {
		t.Parallel()
		box, _ := start(t, novabox.Options{Talk: long})
		box.Plan(fault.Once(fault.Slow))
		ctx, c := dialled(t, made(t, box, RealtimeOptions{}), driver.Setup{})
		speak(t, ctx, c)
		first, _, _ := until[*driver.ResponseCreated](t, ctx, c)
		until[*driver.Audio](t, ctx, c)
		speak(t, ctx, c)
		done, kinds, _ := until[*driver.ResponseDone](t, ctx, c)
		if tail := kinds[max(len(kinds)-4, 0):]; done.Status != driver.Cancelled || done.ResponseID != first.ResponseID ||
			!slices.Equal(tail, []string{"SpeechStarted", "Interrupted", "MessageDone", "ResponseDone"}) {
			t.Errorf("%s after %v", done.Status, kinds)
		}
		if done, kinds, text := until[*driver.ResponseDone](t, ctx, c); done.Status != driver.Completed || text != sandbox.TalkText || kinds[0] != "Transcript" {
			t.Errorf("then %s, %q, %v", done.Status, text, kinds)
		}
	})
	// The model is faster than its speech.
	t.Run("while it is played", func(t *testing.T) {
		t.Parallel()
		box, _ := start(t, novabox.Options{Talk: long, Early: true})
		ctx, c := dialled(t, made(t, box, RealtimeOptions{}), driver.Setup{})
		speak(t, ctx, c)
		until[*driver.ResponseDone](t, ctx, c)
		speak(t, ctx, c)
		if _, kinds, _ := until[*driver.ResponseDone](t, ctx, c); !slices.Equal(kinds[:4], []string{"SpeechStarted", "Transcript", "SpeechStopped", "Transcript"}) {
			t.Errorf("%v", kinds)
		}
	})
}

func TestTools(t *testing.T) {
	t.Parallel()
	box, s := start(t, novabox.Options{Talk: sandbox.Talk{Answer: sandbox.Replies(true)}})
	d := made(t, box, RealtimeOptions{})
	ctx, c := dialled(t, d, driver.Setup{Tools: []llm.ToolSpec{{Name: "weather", Description: "Of a place.", Parameters: []byte(`{}`)}}})
	outputs := map[string]string{}
	for _, o := range []*chat.FunctionCallOutput{{Output: `{"sky":"clear"}`}, {Output: "clear"}, {Output: `[1]`}, {Output: "no such place", IsError: true}} {
		speak(t, ctx, c)
		call, _, _ := until[*driver.ToolCall](t, ctx, c)
		until[*driver.ResponseDone](t, ctx, c)
		o.ID, o.CallID = "item_"+call.Call.CallID, call.Call.CallID
		if err := c.Add(ctx, []driver.Item{{Item: o}}); err != nil || call.Call.Name != "weather" {
			t.Fatal(err)
		}
		if _, kinds, _ := until[*driver.ResponseDone](t, ctx, c); kinds[0] != "ItemAdded" {
			t.Errorf("%v", kinds)
		}
		outputs[o.Output] = fmt.Sprint(s.of("toolResult")[len(outputs)]["content"])
	}
	want := map[string]string{`{"sky":"clear"}`: `{"sky":"clear"}`, "clear": `{"result":"clear"}`, "[1]": `{"result":"[1]"}`, "no such place": `{"error":"no such place"}`}
	if !reflect.DeepEqual(outputs, want) {
		t.Errorf("outputs %v", outputs)
	}
	// The output of a call of a connection before this one, and what cannot be told.
	late := &chat.FunctionCallOutput{Header: chat.Header{ID: "late"}, CallID: "unknown", Name: "weather", Output: "rain"}
	message := chat.NewMessage(chat.User, "hi")
	var left *driver.UnsupportedItems
	if err := c.Add(ctx, []driver.Item{{Item: message}, {After: message.ID, Item: late}}); !errors.As(err, &left) || !slices.Equal(left.IDs, []string{message.ID}) {
		t.Errorf("add: %v", err)
	}
	until[*driver.ResponseCreated](t, ctx, c)
	if got := s.texts(); got[len(got)-1] != "USER true: (Result of weather: rain)" {
		t.Errorf("told %q", got)
	}
	_, c = dialled(t, made(t, box, RealtimeOptions{Model: "amazon.nova-sonic-v1:0"}), driver.Setup{})
	if err := c.Add(ctx, []driver.Item{{Item: late}}); !errors.Is(err, driver.ErrUnsupported) {
		t.Errorf("the first model: %v", err)
	}
}

// A microphone that is off leaves the model neither deaf nor waiting for the end of a turn.
func TestSilenceTakesThePlaceOfAudio(t *testing.T) {
	t.Parallel()
	box, _ := start(t, novabox.Options{})
	ctx, c := dialled(t, made(t, box, RealtimeOptions{}), driver.Setup{})
	f := sandbox.EarSpeech(inputRate)
	f.Data = f.Data[:len(f.Data)/2] // without the silence after it
	if err := c.Push(ctx, f); err != nil {
		t.Fatal(err)
	}
	until[*driver.ResponseDone](t, ctx, c)
}

func TestServiceEndsOldConnections(t *testing.T) {
	t.Parallel()
	box, _ := start(t, novabox.Options{Limit: 300 * time.Millisecond})
	ctx, c := dialled(t, made(t, box, RealtimeOptions{}), driver.Setup{})
	_, err := c.Next(ctx)
	var e *model.Error
	if !errors.As(err, &e) || e.Status != http.StatusRequestTimeout || !model.Retryable(err) {
		t.Errorf("error %v", err)
	}
	if _, again := c.Next(ctx); again != err {
		t.Errorf("and then %v", again)
	}
	for want, age := range map[time.Duration]opt.Value[time.Duration]{8 * time.Minute: {}, time.Minute: opt.Some(time.Minute), 0: opt.Off[time.Duration]()} {
		if got := made(t, box, RealtimeOptions{MaxAge: age}).Capabilities().MaxAge; got != want {
			t.Errorf("age %v, want %v", got, want)
		}
	}
}

type provider struct {
	aws.Credentials
	err error
}

func (p provider) Retrieve(context.Context) (aws.Credentials, error) { return p.Credentials, p.err }

func TestCredentials(t *testing.T) {
	t.Parallel()
	box, _ := start(t, novabox.Options{})
	d := made(t, box, RealtimeOptions{})
	good, _ := d.o.Credentials.Retrieve(t.Context())
	refused := func(name string, p aws.CredentialsProvider, status int, words ...string) {
		t.Helper()
		d.o.Credentials = p
		_, err := d.Connect(t.Context(), &driver.Setup{History: &chat.Context{}})
		var e *model.Error
		if !errors.As(err, &e) || e.Status != status || model.Retryable(err) {
			t.Errorf("%s: %v", name, err)
			return
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v has no %s", name, err, w)
			}
		}
		for _, secret := range []string{good.SecretAccessKey, "wrong-token"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	refused("none", provider{err: errors.New("nowhere")}, 401, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "nowhere")
	chain, err := newRealtime(nil)
	if err != nil {
		t.Fatal(err)
	}
	refused("the chain", chain.o.Credentials, 401, "AWS_ACCESS_KEY_ID")
	wrong := good
	wrong.SecretAccessKey = "wrong-secret"
	refused("a wrong key", provider{Credentials: wrong}, 403, "signature")
	wrong = good
	wrong.SessionToken = "wrong-token"
	refused("a wrong token", provider{Credentials: wrong}, 403, "security token")
	// Some that expire before the connection grows old.
	soon := good
	soon.CanExpire, soon.Expires = true, time.Now().Add(time.Minute)
	d = made(t, box, RealtimeOptions{}) // signers remember keys by their id
	d.o.Credentials = provider{Credentials: soon}
	ctx, c := dialled(t, d, driver.Setup{})
	if e, _, _ := until[*driver.GoAway](t, ctx, c); e.In <= 0 || e.In > time.Minute {
		t.Errorf("it goes away in %v", e.In)
	}
}

func TestAddress(t *testing.T) {
	t.Setenv("AWS_REGION", "us-west-2")
	for want, o := range map[string]RealtimeOptions{
		"https://bedrock-runtime.us-west-2.amazonaws.com/model/amazon.nova-2-sonic-v1%3A0/invoke-with-bidirectional-stream":  {},
		"https://bedrock-runtime.eu-north-1.amazonaws.com/model/amazon.nova-sonic-v1%3A0/invoke-with-bidirectional-stream":   {Region: "eu-north-1", Model: "amazon.nova-sonic-v1:0"},
		"http://localhost:1/x/model/arn%3Aaws%3Abedrock%3Aus%3A1%3Aprovisioned-model%2Fabc/invoke-with-bidirectional-stream": {BaseURL: "http://localhost:1/x/", Model: "arn:aws:bedrock:us:1:provisioned-model/abc"},
	} {
		d, err := newRealtime(&o)
		if err != nil || d.url.String() != want {
			t.Errorf("%v, %v, want %s", d.url, err, want)
		}
	}
	t.Setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://elsewhere")
	if d, err := newRealtime(nil); err != nil || d.url.Host != "elsewhere" || d.o.Region != "us-west-2" {
		t.Errorf("%v, %v", d.url, err)
	}
	t.Setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "elsewhere")
	if _, err := newRealtime(nil); err == nil {
		t.Error("no error without a scheme")
	}
}
