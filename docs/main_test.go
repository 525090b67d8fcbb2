// Package docs holds the tests that what the documents show is what there is. They are in the root module
// so that a changed document is a reason to run them again.
package docs

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
