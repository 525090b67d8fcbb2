package room

import (
	"fmt"
	"testing"

	"github.com/livekit/protocol/logger/pionlogger"
)

// formatted is an argument that knows whether somebody formatted it.
type formatted bool

func (f *formatted) Format(fmt.State, rune) { *f = true }

// WebRTC logs tracks, which are not to be read without their lock.
func TestWhatWebRTCLogsIsNotFormatted(t *testing.T) {
	log := pionlogger.NewLoggerFactory(silence()).NewLogger("pc")
	for level, logf := range map[string]func(string, ...any){
		"trace": log.Tracef, "debug": log.Debugf, "info": log.Infof, "warn": log.Warnf, "error": log.Errorf,
	} {
		var f formatted
		if logf("%v", &f); f {
			t.Errorf("%s: formatted", level)
		}
	}
}
