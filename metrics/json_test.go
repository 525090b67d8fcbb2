package metrics

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestEventJSONGolden(t *testing.T) {
	for size, events := range map[string]map[string]Event{"full": fullEvents(), "minimal": minimalEvents()} {
		for name, e := range events {
			got, err := json.MarshalIndent(e, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+"_"+size+".json", append(got, '\n'))
		}
	}
}

func TestDecodeGivesBackEveryField(t *testing.T) {
	for name, e := range fullEvents() {
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("%s: got %+v, want %+v", name, got, e)
		}
		again := newEvent(e.Type())
		if err := json.Unmarshal(data, again); err != nil || !reflect.DeepEqual(again, e) {
			t.Errorf("%s: Unmarshal got %+v, %v", name, again, err)
		}
	}
}

// A field added to an event must get a name: with every field set, no JSON value may be zero, and
// the number of names must match the number of fields.
func TestEveryFieldIsVisited(t *testing.T) {
	for name, e := range fullEvents() {
		zero := newEvent(e.Type())
		rv, rz := reflect.ValueOf(e).Elem(), reflect.ValueOf(zero).Elem()
		for i := range rv.NumField() {
			field := rv.Type().Field(i).Name
			if rv.Field(i).IsZero() {
				t.Errorf("%s.%s is zero in fullEvents", name, field)
			}
			if field == "Header" || field == "Acquired" {
				continue
			}
			before, _ := json.Marshal(e)
			old := reflect.ValueOf(rv.Field(i).Interface())
			rv.Field(i).Set(rz.Field(i))
			after, _ := json.Marshal(e)
			rv.Field(i).Set(old)
			if string(before) == string(after) {
				t.Errorf("%s.%s does not show in the JSON form", name, field)
			}
		}
	}
}

func TestDefaultsAreSpelledOut(t *testing.T) {
	data, _ := json.Marshal(&LLM{TTFT: NoOutput, TokensPerSecond: math.NaN()})
	for _, want := range []string{`"ttft":-1,`, `"outcome":"delivered"`, `"source":"provider"`, `"tokens_per_second":0,`, `"timestamp":0,`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%s lacks %s", data, want)
		}
	}
	for _, absent := range []string{"metadata", "speech_id", "acquire_time", "connection_reused"} {
		if strings.Contains(string(data), absent) {
			t.Errorf("%s has %s", data, absent)
		}
	}
}

func TestAcquisitionOfZeroTimeIsWritten(t *testing.T) {
	data, _ := json.Marshal(&STT{Acquired: true})
	if want := `"acquire_time":0,"connection_reused":false`; !strings.Contains(string(data), want) {
		t.Errorf("%s lacks %s", data, want)
	}
	e, err := Decode(data)
	if err != nil || !e.(*STT).Acquired {
		t.Errorf("decoded %v, %v", e, err)
	}
}

func TestDecodeErrors(t *testing.T) {
	for in, want := range map[string]string{
		`{`:                      "unexpected end",
		`[]`:                     "cannot unmarshal",
		`{"id":"x"}`:             `unknown type ""`,
		`{"type":"gpu_metrics"}`: `unknown type "gpu_metrics"`,
		`{"type":"llm_metrics","prompt_tokens":1.5}`:                                   "prompt_tokens: not a 64-bit integer",
		`{"type":"llm_metrics","prompt_tokens":"1"}`:                                   "prompt_tokens: not a 64-bit integer",
		`{"type":"llm_metrics","duration":1e300}`:                                      "duration: not a number of seconds",
		`{"type":"llm_metrics","tokens_per_second":{}}`:                                "tokens_per_second: not a number",
		`{"type":"llm_metrics","metadata":7}`:                                          "metadata: ",
		`{"type":"realtime_model_metrics","input_token_details":{"audio_tokens":"a"}}`: "input_token_details: audio_tokens: ",
	} {
		e, err := Decode([]byte(in))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v; want error with %q", in, e, err, want)
		}
		if strings.Contains(want, "unknown type") != errors.Is(err, ErrUnknownType) {
			t.Errorf("%s: errors.Is(%v, ErrUnknownType) is wrong", in, err)
		}
	}
	var llm LLM
	if err := json.Unmarshal([]byte(`{"type":"stt_metrics"}`), &llm); !errors.Is(err, ErrUnknownType) {
		t.Errorf("an STT event was read into an LLM: %v", err)
	}
}

func TestNullIsMissing(t *testing.T) {
	e, err := Decode([]byte(`{"type":"llm_metrics","speech_id":null,"metadata":null,"prompt_tokens":null,"new_member":[1]}`))
	if err != nil || !reflect.DeepEqual(e, new(LLM)) {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestSecondsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(-8e18, 8e18).Draw(t, "d"))
		if got, err := parseDuration(string(appendDuration(nil, d))); err != nil || got != d {
			t.Fatalf("%d came back as %d, %v", d, got, err)
		}
		tm := time.Unix(0, int64(d)).UTC()
		if got, err := parseTime(string(appendTime(nil, tm))); err != nil || d != 0 && !got.Equal(tm) {
			t.Fatalf("%v came back as %v, %v", tm, got, err)
		}
	})
	for in, want := range map[string]time.Duration{
		"1": second, "-0.25": -second / 4, "1.5e-1": 150 * time.Millisecond, "2E0": 2 * second, "0.1234567899": 123456789,
	} {
		if got, err := parseDuration(in); err != nil || got != want {
			t.Errorf("parseDuration(%s) = %v, %v; want %v", in, got, err, want)
		}
	}
}

func TestStringPrintsOnlyWhatDiffers(t *testing.T) {
	e := &LLM{Header: Header{RequestID: "r'1\n", Outcome: Delivered, Source: FromProvider}, TTFT: 310 * time.Millisecond}
	if got, want := e.String(), `LLMMetrics(request_id='r\'1\n', ttft=0.31)`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := (&Realtime{TTFT: NoOutput}).String(), "RealtimeModelMetrics(ttft=-1)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var b strings.Builder
	for _, name := range []string{"llm", "stt", "tts", "vad", "eou", "eot", "realtime", "interruption", "avatar", "connection"} {
		b.WriteString(fullEvents()[name].(interface{ String() string }).String() + "\n")
	}
	golden(t, "strings.txt", []byte(b.String()))
}

// Encoding must not write to the event: it is shared.
func TestMarshalLeavesEventAlone(t *testing.T) {
	for name, e := range minimalEvents() {
		if _, err := json.Marshal(e); err != nil {
			t.Fatal(err)
		}
		_ = e.(interface{ String() string }).String()
		if !reflect.DeepEqual(e, minimalEvents()[name]) {
			t.Errorf("%s was changed to %+v", name, e)
		}
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"type":"stt_metrics","timestamp":-0.000000001,"acquire_time":1e2,"label":"\u2028<"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Decode(data)
		if err != nil {
			return
		}
		once, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("%+v cannot be written: %v", e, err)
		}
		back, err := Decode(once)
		if err != nil {
			t.Fatalf("%s cannot be read back: %v", once, err)
		}
		if twice, _ := json.Marshal(back); string(once) != string(twice) {
			t.Fatalf("not stable:\n%s\n%s", once, twice)
		}
		new(Collector).Add(e)
	})
}

func FuzzDecodeUsage(f *testing.F) {
	f.Add([]byte(`{"model_usage":[{"type":"llm_usage","provider":"openai","model":"m","input_tokens":1}]}`))
	f.Add([]byte(`{"model_usage":[{"type":"tts_usage","audio_duration":1.5},{"type":"eot_usage","total_requests":2}]}`))
	f.Add([]byte(`{"model_usage":[null]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var u, back Usage
		if json.Unmarshal(data, &u) != nil {
			return
		}
		once, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(once, &back); err != nil || !reflect.DeepEqual(u, back) {
			t.Fatalf("%s came back as %+v, %v", once, back, err)
		}
	})
}

func BenchmarkMarshal(b *testing.B) {
	e := fullEvents()["llm"].(*LLM)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.MarshalJSON(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	data, _ := json.Marshal(fullEvents()["llm"])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

// A clock that is wrong, or a number that has run over, must not cost the event.
func TestWhatIsOutOfReasonCanBeReadAgain(t *testing.T) {
	for _, at := range []time.Time{time.Date(99999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-9999, 1, 1, 0, 0, 0, 1, time.UTC), time.Unix(maxSeconds, 999), time.Unix(-maxSeconds, 1)} {
		for _, d := range []time.Duration{math.MaxInt64, math.MinInt64, maxSeconds*time.Second + 1} {
			b, err := json.Marshal(&TTS{Header: Header{Timestamp: at}, CharactersCount: 4, AudioDuration: d})
			if err != nil {
				t.Fatal(err)
			}
			e, err := Decode(b)
			if err != nil || e.(*TTS).CharactersCount != 4 || (e.(*TTS).AudioDuration > 0) != (d > 0) || e.Head().Timestamp.After(time.Unix(0, 0)) != at.After(time.Unix(0, 0)) {
				t.Errorf("%s: %v, %v", b, e, err)
			}
		}
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64} {
		b, err := json.Marshal(&LLM{CompletionTokens: 5, TokensPerSecond: f})
		if err != nil {
			t.Fatal(err)
		}
		if e, err := Decode(b); err != nil || e.(*LLM).CompletionTokens != 5 {
			t.Errorf("%s: %v, %v", b, e, err)
		}
	}
}
