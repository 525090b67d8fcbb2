package sarvam

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // the kits wait more than they work
	goleak.VerifyTestMain(m)
}
