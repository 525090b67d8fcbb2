package sessiontest_test

import (
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/session/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestC120OutputKeepsItsContract(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := sessiontest.NewOutput(16000)
		defer o.Close()
		sessiontest.CheckOutput(t, o)
	})
}
