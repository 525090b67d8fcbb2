package turn_test

import (
	"context"
	"fmt"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/turn"
)

func ExampleNewText() {
	m := turn.NewText(nil)
	for _, user := range []string{"my number is five five five", "it's 617 555 0199"} {
		c := &chat.Context{}
		c.Add(chat.NewMessage(chat.Assistant, "What's the best phone number to reach you?"))
		c.Add(chat.NewMessage(chat.User, user))
		p, err := m.Predict(context.Background(), c, "en")
		fmt.Println(user, "→", p.Over(), err)
	}
	// Output:
	// my number is five five five → false <nil>
	// it's 617 555 0199 → true <nil>
}
