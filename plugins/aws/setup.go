package aws

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/realtime/driver"
)

const (
	// manners are for a model that was told nothing.
	manners = "You are a friendly assistant in a spoken conversation. Keep your answers short."
	// before stands where the user's first words would be: a conversation begins with him.
	before = "(The conversation begins.)"
	// goOn asks for an answer when there is nothing to answer.
	goOn = "(Go on.)"
	// maxMessages is how many messages of a conversation are told, maxBytes how long they may be; those of the first
	// model are shorter.
	maxMessages = 40
	maxBytes    = 50 << 10
	maxBytesV1  = 1000
)

// object is a JSON object.
type object = map[string]any

// sessionStart is the first event.
func (d *converser) sessionStart() object {
	o := object{"inferenceConfiguration": object{"maxTokens": d.o.MaxTokens, "topP": d.o.TopP.Default(0.9), "temperature": d.o.Temperature.Default(0.7)}}
	if d.writes {
		o["turnDetectionConfiguration"] = object{"endpointingSensitivity": d.o.Endpointing}
	} else {
		o["endpointingSensitivity"] = d.o.Endpointing
	}
	return object{"sessionStart": o}
}

// promptStart is the second.
func (d *converser) promptStart(name string, s *driver.Setup) object {
	p := object{
		"promptName": name, "textOutputConfiguration": object{"mediaType": "text/plain"},
		"audioOutputConfiguration": object{"mediaType": "audio/lpcm", "sampleRateHertz": outputRate, "sampleSizeBits": 16,
			"channelCount": 1, "voiceId": d.o.Voice, "encoding": "base64", "audioType": "SPEECH"},
	}
	if len(s.Tools) > 0 && s.ToolChoice.Mode != llm.ToolNone {
		config := object{"tools": tools(s.Tools)}
		switch s.ToolChoice.Mode {
		case llm.ToolRequired:
			config["toolChoice"] = object{"any": object{}}
		case llm.ToolFunction:
			config["toolChoice"] = object{"tool": object{"name": s.ToolChoice.Function}}
		}
		p["toolUseOutputConfiguration"] = object{"mediaType": "application/json"}
		p["toolConfiguration"] = config
	}
	return object{"promptStart": p}
}

func tools(specs []llm.ToolSpec) (list []object) {
	for _, t := range specs {
		about := t.Description
		if about == "" {
			about = t.Name
		}
		list = append(list, object{"toolSpec": object{"name": t.Name, "description": about, "inputSchema": object{"json": string(t.Parameters)}}})
	}
	return list
}

// said is something that was said before.
type said struct{ role, text string }

const (
	system    = "SYSTEM"
	user      = "USER"
	assistant = "ASSISTANT"
)

// history is the conversation as the model takes it: it begins with the user, and then one answers the other.
func (d *converser) history(h *chat.Context) (list []said) {
	size := maxBytes
	if !d.writes {
		size = maxBytesV1
	}
	for it := range h.All() {
		role, text := line(it)
		switch {
		case text == "":
		case len(list) > 0 && list[len(list)-1].role == role && len(list[len(list)-1].text)+len(text) < size:
			list[len(list)-1].text += "\n" + text
		case len(list) > 0 && list[len(list)-1].role == role:
			list[len(list)-1].text = text // what fits is the newer
		default:
			list = append(list, said{role, text})
		}
	}
	list = list[max(len(list)-maxMessages, 0):]
	if len(list) > 0 && list[0].role == assistant {
		if len(list) == maxMessages {
			list = list[1:]
		} else {
			list = slices.Insert(list, 0, said{user, before})
		}
	}
	for i := range list {
		list[i].text = shorten(list[i].text, size)
	}
	return list
}

// line is what the model is told of an item; no text for nothing.
func line(it chat.Item) (role, text string) {
	switch it := it.(type) {
	case *chat.Message:
		role = user
		if it.Role == chat.Assistant {
			role = assistant
		}
		return role, strings.TrimSpace(it.Text())
	case *chat.FunctionCallOutput:
		return user, resultText(it)
	}
	return "", ""
}

// resultText is an output of a tool for a model that did not call it, or not over this connection.
func resultText(it *chat.FunctionCallOutput) string {
	return "(Result of " + it.Name + ": " + it.Output + ")"
}

// result is an output of a tool as the model takes it: an object.
func result(it *chat.FunctionCallOutput) string {
	var o map[string]json.RawMessage
	if !it.IsError && json.Unmarshal([]byte(it.Output), &o) == nil && o != nil {
		return it.Output
	}
	key := "result"
	if it.IsError {
		key = "error"
	}
	b, _ := json.Marshal(map[string]string{key: it.Output}) // of strings
	return string(b)
}

// shorten cuts text to so many bytes.
func shorten(text string, size int) string {
	if len(text) <= size {
		return text
	}
	text = text[:size]
	for !utf8.ValidString(text) && text != "" {
		text = text[:len(text)-1]
	}
	return text
}

// asked is what asks for an answer; "" for one without instructions of its own.
func asked(r *driver.Request) string {
	if text := strings.TrimSpace(r.Instructions); text != "" {
		return "(" + text + ")"
	}
	return ""
}
