package silero

import (
	"testing"

	"go.uber.org/goleak"

	weights "github.com/parley-go/parley/models/silero"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func embeddedFile() string { return weights.Weights() }
