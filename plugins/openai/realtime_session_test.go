package openai

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime/driver"
)

var lookup = llm.ToolSpec{Name: "lookup", Description: "Looks up.", Parameters: json.RawMessage(`{"type":"object"}`)}

const lookupJSON = `[{"type":"function","name":"lookup","description":"Looks up.","parameters":{"type":"object"}}]`

// Every service gets the session object that it takes, at its own address.
func TestConversationSessionObject(t *testing.T) {
	t.Parallel()
	all := &RealtimeOptions{
		Voice: "cedar", NoiseReduction: "near_field", MaxTokens: 500, Speed: opt.Some(1.2), Reasoning: "low", Truncation: "disabled",
		Turns:         opt.Some(RealtimeTurns{Type: "server_vad", Threshold: 0.7, Prefix: 100 * time.Millisecond, Silence: 900 * time.Millisecond}),
		Transcription: opt.Some(RealtimeTranscription{Model: "whisper-1", Language: "de", Prompt: "Parley"}),
		Extra:         map[string]any{"tracing": "auto"},
	}
	const pcm = `"format":{"type":"audio/pcm","rate":24000}`
	const semantic = `{"type":"semantic_vad","eagerness":"medium","create_response":true,"interrupt_response":true}`
	const server = `{"type":"server_vad","threshold":0.5,"prefix_padding_ms":300,"silence_duration_ms":200,"create_response":true,"interrupt_response":true}`
	const german = `{"model":"whisper-1","language":"de","prompt":"Parley"}`
	const chosen = `{"type":"server_vad","threshold":0.7,"prefix_padding_ms":100,"silence_duration_ms":900,"create_response":true,"interrupt_response":true}`
	for name, c := range map[string]struct {
		variant string
		options *RealtimeOptions // besides those of the variant
		setup   driver.Setup
		query   string
		key     string
		session string
	}{
		"openai": {"openai", nil, driver.Setup{Instructions: "Be brief.", Tools: []llm.ToolSpec{lookup}, ToolChoice: llm.ToolChoice{Mode: llm.ToolRequired}},
			"model=gpt-realtime", "Authorization: Bearer ",
			`{"type":"realtime","model":"gpt-realtime","instructions":"Be brief.","tools":` + lookupJSON + `,"tool_choice":"required",
			"output_modalities":["audio"],"max_output_tokens":"inf","audio":{
			"input":{` + pcm + `,"transcription":{"model":"gpt-4o-mini-transcribe"},"turn_detection":` + semantic + `},"output":{` + pcm + `,"voice":"marin"}}}`},
		"openai with everything": {"openai", all, driver.Setup{TextOnly: true, ToolChoice: llm.ToolChoice{Mode: llm.ToolFunction, Function: "lookup"}},
			"model=gpt-realtime", "Authorization: Bearer ",
			`{"type":"realtime","model":"gpt-realtime","instructions":"","tools":[],"tool_choice":{"type":"function","name":"lookup"},
			"output_modalities":["text"],"max_output_tokens":500,"reasoning":{"effort":"low"},"truncation":"disabled","tracing":"auto","audio":{
			"input":{` + pcm + `,"transcription":` + german + `,"turn_detection":` + chosen + `,"noise_reduction":{"type":"near_field"}},
			"output":{` + pcm + `,"voice":"cedar","speed":1.2}}}`},
		"turns by the caller, nobody transcribes": {"openai", &RealtimeOptions{Transcription: opt.Off[RealtimeTranscription]()}, driver.Setup{ClientTurns: true},
			"model=gpt-realtime", "Authorization: Bearer ",
			`{"type":"realtime","model":"gpt-realtime","instructions":"","tools":[],"tool_choice":"auto",
			"output_modalities":["audio"],"max_output_tokens":"inf","audio":{
			"input":{` + pcm + `,"transcription":null,"turn_detection":null},"output":{` + pcm + `,"voice":"marin"}}}`},
		"azure": {"azure", nil, driver.Setup{}, "model=gpt-realtime", "Api-Key: ",
			`{"type":"realtime","model":"gpt-realtime","instructions":"","tools":[],"tool_choice":"auto",
			"output_modalities":["audio"],"max_output_tokens":"inf","audio":{
			"input":{` + pcm + `,"transcription":{"model":"whisper-1"},"turn_detection":` + server + `},"output":{` + pcm + `,"voice":"marin"}}}`},
		"azure older": {"azure older", nil, driver.Setup{}, "api-version=2025-04-01-preview&deployment=gpt-realtime", "Api-Key: ",
			`{"instructions":"","tools":[],"tool_choice":"auto","modalities":["text","audio"],"input_audio_format":"pcm16","output_audio_format":"pcm16",
			"input_audio_transcription":{"model":"whisper-1"},"turn_detection":` + server + `,"voice":"marin","max_response_output_tokens":"inf"}`},
		"azure older with everything": {"azure older", all, driver.Setup{TextOnly: true}, "api-version=2025-04-01-preview&deployment=gpt-realtime", "Api-Key: ",
			`{"instructions":"","tools":[],"tool_choice":"auto","modalities":["text"],"input_audio_format":"pcm16","output_audio_format":"pcm16",
			"input_audio_transcription":` + german + `,"turn_detection":` + chosen + `,"voice":"cedar","max_response_output_tokens":500,"speed":1.2,
			"input_audio_noise_reduction":{"type":"near_field"},"reasoning":{"effort":"low"},"truncation":"disabled","tracing":"auto"}`},
		"xai": {"xai", nil, driver.Setup{}, "model=grok-voice-latest", "Authorization: Bearer ",
			`{"type":"realtime","model":"grok-voice-latest","instructions":"","tools":[],"tool_choice":"auto",
			"output_modalities":["audio"],"max_output_tokens":"inf","voice":"Ara","turn_detection":` + server + `,
			"audio":{"input":{` + pcm + `,"transcription":{"model":"grok-transcribe"}},"output":{` + pcm + `}}}`},
		"xai with its own tools": {"xai", &RealtimeOptions{ProviderTools: []map[string]any{{"type": "web_search"}}}, driver.Setup{Tools: []llm.ToolSpec{lookup}},
			"model=grok-voice-latest", "Authorization: Bearer ",
			`{"type":"realtime","model":"grok-voice-latest","instructions":"","tools":` + strings.TrimSuffix(lookupJSON, "]") + `,{"type":"web_search"}],"tool_choice":"auto",
			"output_modalities":["audio"],"max_output_tokens":"inf","voice":"Ara","turn_detection":` + server + `,
			"audio":{"input":{` + pcm + `,"transcription":{"model":"grok-transcribe"}},"output":{` + pcm + `}}}`},
		"a service of which nothing is known": {"other", nil, driver.Setup{}, "model=talker", "Authorization: ",
			`{"type":"realtime","model":"talker","instructions":"","tools":[],"tool_choice":"auto",
			"output_modalities":["audio"],"max_output_tokens":"inf","audio":{
			"input":{` + pcm + `,"transcription":null,"turn_detection":` + server + `},"output":{` + pcm + `}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := variant{prefix: "/v1", o: RealtimeOptions{Service: VLLM, Model: "talker"}}
			if c.variant != "other" {
				v = ofVariant(c.variant)
			}
			if c.options != nil {
				o := *c.options
				o.Service, o.APIVersion = v.o.Service, v.o.APIVersion
				v.o = o
			}
			p := meet(t, v, &c.setup)
			sameJSON(t, p.update, c.session)
			if q := p.query.Encode(); q != c.query {
				t.Errorf("the query is %s, want %s", q, c.query)
			}
			header, before, _ := strings.Cut(c.key, ": ")
			if got := p.header.Get(header); !strings.HasPrefix(got, before) || len(got) == len(before) {
				t.Errorf("%s is %q", header, got)
			}
		})
	}
}

// What changes is sent alone, and acknowledged in order.
func TestConversationUpdate(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]string{"openai": `"type":"realtime",`, "azure older": ""} {
		p := meet(t, ofVariant(name), &driver.Setup{Instructions: "Be brief."})
		u, ok := p.conn.(driver.Updater)
		if !ok {
			t.Fatalf("%T is no Updater", p.conn)
		}
		more, tools := "Be long.", []llm.ToolSpec{lookup}
		p.do(func(ctx context.Context) error { return u.Update(ctx, &driver.Update{ID: "one", Instructions: &more}) })
		p.do(func(ctx context.Context) error {
			return u.Update(ctx, &driver.Update{ID: "two", Tools: &tools, ToolChoice: &llm.ToolChoice{Mode: llm.ToolNone}})
		})
		sameJSON(t, p.hear("session.update")["session"], `{`+kind+`"instructions":"Be long."}`)
		sameJSON(t, p.hear("session.update")["session"], `{`+kind+`"tools":`+lookupJSON+`,"tool_choice":"none"}`)
		p.want([]string{`{"type":"session.updated"}`, `{"type":"session.updated"}`}, &driver.Updated{ID: "one"}, &driver.Updated{ID: "two"})
	}
}

// The instructions of an answer take the place of the session's at the service, so they are sent with them. A
// change that was refused is not among them.
func TestConversationGenerate(t *testing.T) {
	t.Parallel()
	p := meet(t, ofVariant("openai"), &driver.Setup{Instructions: "Be brief."})
	ask := func(r *driver.Request) any {
		p.do(func(ctx context.Context) error { return p.conn.Generate(ctx, r) })
		return p.hear("response.create")["response"]
	}
	sameJSON(t, ask(&driver.Request{ID: "one"}), `{"metadata":{"client_event_id":"one"}}`)
	tools := []llm.ToolSpec{lookup}
	sameJSON(t, ask(&driver.Request{ID: "two", Instructions: "Speak of ships.", Tools: &tools, ToolChoice: &llm.ToolChoice{Mode: llm.ToolRequired}}),
		`{"metadata":{"client_event_id":"two"},"instructions":"Be brief.\n\nSpeak of ships.","tools":`+lookupJSON+`,"tool_choice":"required"}`)
	more := "Be rude."
	p.do(func(ctx context.Context) error {
		return p.conn.(driver.Updater).Update(ctx, &driver.Update{ID: "three", Instructions: &more})
	})
	id, _ := p.hear("session.update")["event_id"].(string)
	p.say(`{"type":"error","error":{"type":"invalid_request_error","code":"invalid_value","message":"no","event_id":"` + id + `"}}`)
	if e, ok := p.tells(1)[0].(*driver.Error); !ok || e.RequestID != "three" || e.Err == nil {
		t.Errorf("the refusal is told as %+v", e)
	}
	sameJSON(t, ask(&driver.Request{ID: "four", Instructions: "Speak of ships."}),
		`{"metadata":{"client_event_id":"four"},"instructions":"Be brief.\n\nSpeak of ships."}`)
}

// xAI knows no tools of a single answer.
func TestConversationGenerateXAI(t *testing.T) {
	t.Parallel()
	p := meet(t, ofVariant("xai"), &driver.Setup{})
	tools := []llm.ToolSpec{lookup}
	p.do(func(ctx context.Context) error {
		return p.conn.Generate(ctx, &driver.Request{ID: "one", Tools: &tools, ToolChoice: &llm.ToolChoice{Mode: llm.ToolNone}})
	})
	sameJSON(t, p.hear("response.create")["response"], `{"metadata":{"client_event_id":"one"}}`)
}
