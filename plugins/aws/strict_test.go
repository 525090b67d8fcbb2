package aws

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/plugins/aws/internal/novabox"
	"github.com/parley-go/parley/realtime/driver"
)

// The sandbox refuses what the service refuses: what our tests show is worth something.
func TestSandboxIsStrict(t *testing.T) {
	t.Parallel()
	box, _ := start(t, novabox.Options{})
	d := made(t, box, RealtimeOptions{})
	session, prompt := d.sessionStart(), d.promptStart("p", &driver.Setup{})
	text := func(role, name, content string, interactive bool) []object {
		return []object{
			{"contentStart": object{"promptName": "p", "contentName": name, "type": "TEXT", "interactive": interactive, "role": role, "textInputConfiguration": object{"mediaType": "text/plain"}}},
			{"textInput": object{"promptName": "p", "contentName": name, "content": content}}, {"contentEnd": object{"promptName": "p", "contentName": name}},
		}
	}
	system := text(system, "s", "Be kind.", false)
	mic := (&conversation{prompt: "p"}).start("mic", "AUDIO", user, true, "audioInputConfiguration", object{
		"mediaType": "audio/lpcm", "sampleRateHertz": inputRate, "sampleSizeBits": 16, "channelCount": 1, "audioType": "SPEECH", "encoding": "base64"})
	audio := object{"audioInput": object{"promptName": "p", "contentName": "mic", "content": "AAA="}}
	end := object{"contentEnd": object{"promptName": "p", "contentName": "mic"}}
	begun := append([]object{session, prompt}, system...)
	list := func(parts ...any) (all []object) {
		for _, p := range parts {
			switch p := p.(type) {
			case object:
				all = append(all, p)
			case []object:
				all = append(all, p...)
			}
		}
		return all
	}
	for name, x := range map[string]struct {
		events []object
		want   string
	}{
		"no session":              {list(prompt), "not started"},
		"no prompt":               {list(session, system), "prompt has not started"},
		"two sessions":            {list(session, session), "Invalid session"},
		"an unknown field":        {list(object{"sessionStart": object{"x": 1}}), "unknown field"},
		"an unknown event":        {list(begun, object{"hello": object{"promptName": "p", "contentName": "s"}}), "not open"},
		"an end of nothing":       {list(begun, end), "not open"},
		"no system prompt":        {list(session, prompt, text(user, "a", "hi", false)), "system prompt is missing"},
		"two system prompts":      {list(begun, text("SYSTEM", "b", "hi", false)), "comes first"},
		"the assistant first":     {list(begun, text(assistant, "a", "hi", false)), "First message"},
		"the user twice":          {list(begun, text(user, "a", "hi", false), text(user, "b", "hi", false)), "alternate"},
		"nothing said":            {list(begun, text(user, "a", "", false)), "Invalid text"},
		"history after audio":     {list(begun, mic, text(user, "a", "hi", false)), "Chat history"},
		"text before audio":       {list(begun, text(user, "a", "hi", true)), "not possible"},
		"audio within a text":     {list(begun, mic, text(user, "a", "hi", true)[:1], audio), "Chat history"},
		"two microphones":         {list(begun, mic, mic), "Invalid content"},
		"an output of nothing":    {list(begun, mic, (&conversation{prompt: "p"}).start("t", "TOOL", "TOOL", false, "toolResultInputConfiguration", object{"toolUseId": "x", "type": "TEXT", "textInputConfiguration": object{"mediaType": "text/plain"}})), "tool use"},
		"an end that is too soon": {list(begun, mic, object{"promptEnd": object{"promptName": "p"}}), "open contents"},
		"a session that goes on":  {list(begun, mic, end, object{"sessionEnd": object{}}), "prompt has not ended"},
		"something after the end": {list(begun, object{"promptEnd": object{"promptName": "p"}}, object{"sessionEnd": object{}}, session), "has ended"},
		"all is well":             {list(begun, text(user, "a", "hi", false), text(assistant, "b", "hello", false), mic, audio), ""},
	} {
		limit := patience
		if x.want == "" {
			limit = 200 * time.Millisecond
		}
		err := sent(t, d, x.events, limit)
		var e *model.Error
		switch ok := errors.As(err, &e); {
		case ok && x.want == "" && e.Kind == model.KindTimeout:
		case !ok || e.Status != 400 || !strings.Contains(err.Error(), x.want) || x.want == "":
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
	// What is changed on its way.
	s := opened(t, d)
	if err := s.sendSigned(t.Context(), []byte("not a message")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.receive(t.Context()); err == nil {
		t.Error("no error of what is no message")
	}
	s = opened(t, d)
	_, _ = s.signer.GetSignature(t.Context(), nil, nil, time.Now()) // one that nobody gets
	_ = s.sendEnd(t.Context())                                      // the refusal may come before it is through
	if _, err := s.receive(t.Context()); err == nil || !strings.Contains(err.Error(), "signature") {
		t.Errorf("a broken chain of signatures: %v", err)
	}
}

func opened(t testing.TB, d *converser) *stream {
	t.Helper()
	creds, err := d.o.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.open(t.Context(), &d.Client, creds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// sent is what the service says to events, as long as anybody listens.
func sent(t testing.TB, d *converser, events []object, limit time.Duration) error {
	t.Helper()
	s := opened(t, d)
	defer s.Close()
	for _, o := range events {
		raw, err := json.Marshal(object{"event": o})
		if err != nil {
			t.Fatal(err)
		}
		if s.send(t.Context(), raw) != nil {
			break // it does not want more
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		if _, err := s.receive(ctx); err != nil {
			return err
		}
	}
}

// A service that does not know the conversation's beginning says so when it is opened, or at the next event.
func TestRefusedConversation(t *testing.T) {
	t.Parallel()
	box, _ := start(t, novabox.Options{})
	d := made(t, box, RealtimeOptions{Endpointing: "soon"})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := d.Connect(ctx, &driver.Setup{History: &chat.Context{}})
	if err == nil {
		defer c.Close()
		_, err = c.Next(ctx)
	}
	var e *model.Error
	if !errors.As(err, &e) || e.Status != 400 || model.Retryable(err) {
		t.Errorf("error %v", err)
	}
}
