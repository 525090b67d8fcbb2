package llm

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
)

// FormatOutput is what the model is told that a tool returned: strings as they are, nothing for
// nil, JSON for the rest. It fails for what cannot be said in JSON.
func FormatOutput(v any) (text string, err error) {
	defer func() {
		if p := recover(); p != nil { // from a method of v
			text, err = "", fmt.Errorf("format %T: %w", v, &PanicError{Value: p})
		}
	}()
	if isNilPointer(v) {
		return "", nil
	}
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	case json.RawMessage:
		return string(v), nil
	case encoding.TextMarshaler:
		b, err := v.MarshalText()
		if err != nil {
			return "", fmt.Errorf("format %T: %w", v, err)
		}
		return string(b), nil
	}
	r := reflect.ValueOf(v)
	if r.Kind() == reflect.String {
		return r.String(), nil
	}
	if s, ok := v.(fmt.Stringer); ok && scalar(r.Kind()) { // time.Duration, named constants
		return s.String(), nil
	}
	b, err := encode(v)
	if err != nil {
		return "", fmt.Errorf("format %T: %w", v, err)
	}
	return string(b), nil
}

func scalar(k reflect.Kind) bool {
	return k == reflect.Bool || (k >= reflect.Int && k <= reflect.Float64)
}
