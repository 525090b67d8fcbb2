package turn_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/turn"
)

func TestHandlingOver(t *testing.T) {
	session := turn.Handling{
		Detection:    turn.DetectSTT,
		Interruption: turn.Interruption{MinWords: opt.Some(2), FalseTimeout: opt.Off[time.Duration]()},
		Preemptive:   turn.Preemptive{TTS: opt.Some(true)},
	}
	agent := turn.Handling{
		Interruption: turn.Interruption{MinWords: opt.Some(0)},
		Preemptive:   turn.Preemptive{Enabled: opt.Off[bool]()},
		Limit:        turn.Limit{MaxWords: opt.Some(10)},
	}
	got := agent.Over(session).Over(turn.Defaults(turn.Audio))
	if got.Detection != turn.DetectSTT || got.Interruption.MinWords != opt.Some(0) || !got.Interruption.FalseTimeout.IsOff() ||
		!got.Preemptive.Enabled.IsOff() || got.Preemptive.TTS != opt.Some(true) || got.Limit.MaxWords != opt.Some(10) ||
		got.Endpointing.MinDelay != opt.Some(300*time.Millisecond) {
		t.Errorf("resolved to %+v", got)
	}
}

// Every field is inherited: a new one that Over forgets is found here.
func TestHandlingOverInheritsAll(t *testing.T) {
	full := turn.Defaults("")
	full.Detector = opt.Off[*turn.Model]()
	full.Limit = turn.Limit{MaxWords: opt.Some(1), MaxDuration: opt.Some(time.Second)}
	var check func(path string, v reflect.Value)
	check = func(path string, v reflect.Value) {
		if v.IsZero() {
			t.Errorf("%s is not set by this test", path)
		}
		if v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeFor[turn.Handling]().PkgPath() {
			for i := range v.NumField() {
				check(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	check("Handling", reflect.ValueOf(full))
	if got := (turn.Handling{}).Over(full); !reflect.DeepEqual(got, full) {
		t.Errorf("inherited %+v of %+v", got, full)
	}
}
