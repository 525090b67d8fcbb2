package phonic

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "12") // the cases of the kits wait most of the time
	goleak.VerifyTestMain(m)
}
