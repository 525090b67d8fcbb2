package observed

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPageIsUpToDate(t *testing.T) {
	got, err := os.ReadFile("../../docs/observability/opentelemetry.md")
	if err != nil || string(got) != Page() {
		t.Errorf("docs/observability/opentelemetry.md is out of date (%v): go run ./internal/observed/gen", err)
	}
}
