package openaibox

import (
	"net/http"

	"github.com/parley-go/parley/internal/sandbox"
)

func models(w http.ResponseWriter, _ *http.Request) {
	sandbox.JSON(w, http.StatusOK, map[string]any{"object": "list", "data": []any{}})
}
