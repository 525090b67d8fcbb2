package opt_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/opt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestThreeStates(t *testing.T) {
	var unset opt.Value[int]
	for _, c := range []struct {
		name       string
		v          opt.Value[int]
		get        int
		has        bool
		unset, off bool
		def        int // of Default(7)
		text, json string
	}{
		{"unset", unset, 0, false, true, false, 7, "unset", "null"},
		{"off", opt.Off[int](), 0, false, false, true, 0, "off", "null"},
		{"value", opt.Some(3), 3, true, false, false, 3, "3", "3"},
		{"zero value", opt.Some(0), 0, true, false, false, 0, "0", "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, has := c.v.Get(); got != c.get || has != c.has {
				t.Errorf("Get gives %d, %v", got, has)
			}
			if c.v.IsUnset() != c.unset || c.v.IsOff() != c.off {
				t.Errorf("unset %v, off %v", c.v.IsUnset(), c.v.IsOff())
			}
			if got := c.v.Default(7); got != c.def {
				t.Errorf("Default(7) gives %d, want %d", got, c.def)
			}
			if got := fmt.Sprint(c.v); got != c.text {
				t.Errorf("prints %q, want %q", got, c.text)
			}
			if got, err := json.Marshal(c.v); err != nil || string(got) != c.json {
				t.Errorf("JSON is %s, %v, want %s", got, err, c.json)
			}
		})
	}
}

func TestOrTakesTheFirstDecision(t *testing.T) {
	var unset opt.Value[string]
	for _, c := range []struct{ a, b, want opt.Value[string] }{
		{unset, unset, unset},
		{unset, opt.Some("b"), opt.Some("b")},
		{unset, opt.Off[string](), opt.Off[string]()},
		{opt.Off[string](), opt.Some("b"), opt.Off[string]()},
		{opt.Some("a"), opt.Off[string](), opt.Some("a")},
		{opt.Some(""), opt.Some("b"), opt.Some("")},
	} {
		if got := c.a.Or(c.b); got != c.want {
			t.Errorf("%v or %v is %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestJSONErrorsOfTheValueAreReturned(t *testing.T) {
	if _, err := json.Marshal(opt.Some(func() {})); err == nil {
		t.Error("a value without JSON form was written")
	}
}
