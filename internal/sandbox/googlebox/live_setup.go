package googlebox

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/gorilla/websocket"
	llm "github.com/parley-go/parley/llm/driver"
)

// liveSetup is the first message of a client.
type liveSetup struct {
	Model      string         `json:"model"`
	Config     liveGeneration `json:"generationConfig"`
	System     *Turn          `json:"systemInstruction"`
	Tools      []liveTool     `json:"tools"`
	Turns      liveTurns      `json:"realtimeInputConfig"`
	Resumption *struct {
		Handle string `json:"handle"`
	} `json:"sessionResumption"`
	Compression *struct {
		Trigger int `json:"triggerTokens"`
		Window  *struct {
			Target int `json:"targetTokens"`
		} `json:"slidingWindow"`
	} `json:"contextWindowCompression"`
	Input *struct {
		Languages []string `json:"languageCodes"`
	} `json:"inputAudioTranscription"`
	Output    *struct{} `json:"outputAudioTranscription"`
	Proactive *struct {
		Audio bool `json:"proactiveAudio"`
	} `json:"proactivity"`
	History *struct {
		Initial bool `json:"initialHistoryInClientContent"`
	} `json:"historyConfig"`
	Safety []struct {
		Category  string `json:"category"`
		Threshold string `json:"threshold"`
	} `json:"safetySettings"`
}

type liveGeneration struct {
	Generation
	Modalities []string `json:"responseModalities"`
	Speech     struct {
		Voice struct {
			Prebuilt struct {
				Name string `json:"voiceName"`
			} `json:"prebuiltVoiceConfig"`
		} `json:"voiceConfig"`
		Language string `json:"languageCode"`
	} `json:"speechConfig"`
	Affective bool `json:"enableAffectiveDialog"`
}

type liveTurns struct {
	Detection struct {
		Disabled bool   `json:"disabled"`
		Start    string `json:"startOfSpeechSensitivity"`
		End      string `json:"endOfSpeechSensitivity"`
		Prefix   int    `json:"prefixPaddingMs"`
		Silence  int    `json:"silenceDurationMs"`
	} `json:"automaticActivityDetection"`
	Handling string `json:"activityHandling"`
	Coverage string `json:"turnCoverage"`
}

type liveTool struct {
	Functions []struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Parameters  json.RawMessage `json:"parameters"`
		Schema      json.RawMessage `json:"parametersJsonSchema"`
		Behavior    string          `json:"behavior"`
	} `json:"functionDeclarations"`
	GoogleSearch *struct{} `json:"googleSearch"`
}

var (
	studioModel = regexp.MustCompile(`^models/gemini-[a-z0-9.-]+$`)
	vertexModel = regexp.MustCompile(`^projects/[^/]+/locations/[^/]+/publishers/google/models/(gemini-[a-z0-9.-]+)$`)
)

// check refuses what the provider refuses.
func (s *liveSetup) check(vertex, alpha bool) error {
	named := studioModel.MatchString(s.Model)
	if vertex {
		named = vertexModel.MatchString(s.Model)
	}
	turns := &s.Turns
	if !named || !strings.Contains(s.Model, "live") && !strings.Contains(s.Model, "native-audio") {
		return &refused{websocket.ClosePolicyViolation, s.Model + " is not found for API version v1beta, or is not supported for bidiGenerateContent."}
	}
	switch thinking := s.Config.Thinking; {
	case !slices.Equal(s.Config.Modalities, []string{"AUDIO"}):
		return invalid("Cannot extract voices from a non-audio request.")
	case s.Config.Speech.Voice.Prebuilt.Name == "":
		return invalid("voice_name must be set")
	case thinking != nil && (thinking.Budget != nil) == (thinking.Level != ""):
		return invalid("You can only set only one of thinking budget and thinking level.")
	case thinking != nil && thinking.Level != "" && !s.fixed():
		return invalid("Thinking level is not supported for this model.")
	case !vertex && !alpha && (s.Config.Affective || s.Proactive != nil):
		return invalid("Unknown name \"enableAffectiveDialog\" at 'setup': Cannot find field.")
	case s.System != nil && (len(s.System.Parts) != 1 || s.System.Parts[0].Text == nil || strings.TrimSpace(*s.System.Parts[0].Text) == ""):
		return invalid("system_instruction: invalid")
	case turns.Detection.Disabled && (turns.Detection.Start != "" || turns.Detection.End != "" || turns.Detection.Silence > 0):
		return invalid("automatic_activity_detection is disabled")
	case !slices.Contains([]string{"", "START_SENSITIVITY_HIGH", "START_SENSITIVITY_LOW"}, turns.Detection.Start),
		!slices.Contains([]string{"", "END_SENSITIVITY_HIGH", "END_SENSITIVITY_LOW"}, turns.Detection.End),
		!slices.Contains([]string{"", "NO_INTERRUPTION", "START_OF_ACTIVITY_INTERRUPTS"}, turns.Handling),
		!slices.Contains([]string{"", "TURN_INCLUDES_ALL_INPUT", "TURN_INCLUDES_ONLY_ACTIVITY"}, turns.Coverage):
		return invalid("Invalid value at 'setup.realtime_input_config'")
	case s.Compression != nil && s.Compression.Window == nil:
		return invalid("context_window_compression: no mechanism")
	}
	return s.checkTools(vertex)
}

func (s *liveSetup) checkTools(vertex bool) error {
	for i, t := range s.Tools {
		if count(len(t.Functions) > 0, t.GoogleSearch != nil) != 1 {
			return invalid("tools[%d].tool_type: required one_of 'tool_type' must have one initialized field", i)
		}
		for _, f := range t.Functions {
			switch {
			case !functionName.MatchString(f.Name):
				return invalid("tools[%d]: invalid function name", i)
			case vertex && f.Behavior != "":
				return invalid("behavior is not supported in Vertex AI")
			case !slices.Contains([]string{"", "BLOCKING", "NON_BLOCKING"}, f.Behavior):
				return invalid("tools[%d]: invalid behavior", i)
			case len(f.Schema) > 0 && !s.fixed():
				return invalid("tools[%d]: parameters_json_schema is not supported for this model", i)
			case len(f.Parameters) > 0 && checkSchema(f.Parameters, "OBJECT") != nil:
				return invalid("tools[%d]: %s", i, checkSchema(f.Parameters, "OBJECT").Error())
			}
		}
	}
	return nil
}

// checkSchema refuses what is no schema in Google's words.
func checkSchema(raw json.RawMessage, kind string) error {
	var s struct {
		Type       string                     `json:"type"`
		Properties map[string]json.RawMessage `json:"properties"`
		Items      json.RawMessage            `json:"items"`
		AnyOf      []json.RawMessage          `json:"anyOf"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	known := []string{"OBJECT", "ARRAY", "STRING", "NUMBER", "INTEGER", "BOOLEAN"}
	if kind != "" && s.Type != kind || kind == "" && len(s.AnyOf) == 0 && !slices.Contains(known, s.Type) {
		return invalid("unknown type %q", s.Type)
	}
	if kind == "OBJECT" && len(s.Properties) == 0 {
		return invalid("properties: should be non-empty for OBJECT type")
	}
	parts := s.AnyOf
	for _, p := range s.Properties {
		parts = append(parts, p)
	}
	if len(s.Items) > 0 {
		parts = append(parts, s.Items)
	}
	for _, p := range parts {
		if err := checkSchema(p, ""); err != nil {
			return err
		}
	}
	return nil
}

// fixed reports whether the model takes its context only at the beginning: those of Gemini 3 do.
func (s *liveSetup) fixed() bool {
	_, name, _ := strings.Cut(s.Model, "models/")
	return strings.HasPrefix(name, "gemini-3") || strings.HasPrefix(name, "gemini-live-3")
}

func (s *liveSetup) instructions() string {
	if s.System == nil {
		return ""
	}
	return *s.System.Parts[0].Text
}

// googleType is a type in the words that JSON schema has in small letters.
var googleType = regexp.MustCompile(`"type":"[A-Z]+"`)

// functions are those that may be called, and what they cost as text.
func (s *liveSetup) functions() (list []llm.ToolSpec, tokens int64) {
	for _, t := range s.Tools {
		for _, f := range t.Functions {
			parameters := googleType.ReplaceAllFunc(f.Parameters, bytes.ToLower)
			if len(f.Schema) > 0 {
				parameters = f.Schema
			}
			list = append(list, llm.ToolSpec{Name: f.Name, Description: f.Description, Parameters: parameters})
			tokens += 8 + words(f.Description) + words(string(parameters))
		}
	}
	return list, tokens
}

// behavior is that of a function; "" for Google's default.
func (s *liveSetup) behavior(name string) string {
	for _, t := range s.Tools {
		for _, f := range t.Functions {
			if f.Name == name {
				return f.Behavior
			}
		}
	}
	return ""
}
