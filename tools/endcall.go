// Package tools has tools that most agents want.
package tools

import (
	"context"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
)

// EndCallOptions are the options of EndCall; nil means the defaults.
type EndCallOptions struct {
	// Description tells the model when to call the tool.
	Description string
	// Instructions is what the model is told when it has ended the call: by default to say a short
	// goodbye.
	Instructions string
	// Silent ends the call without a goodbye.
	Silent bool
	// KeepRoom leaves the room open for the other participants. By default the call ends for
	// everybody.
	KeepRoom bool
}

// EndCallName is the name of the tool that EndCall makes.
const EndCallName = "end_call"

// EndCall is a tool by which the model ends the conversation: it says goodbye, and then the session
// shuts down with what is queued said first.
func EndCall(o *EndCallOptions) llm.Tool {
	if o == nil {
		o = &EndCallOptions{}
	}
	description := o.Description
	if description == "" {
		description = "End the call when the user says goodbye or asks to hang up."
	}
	return llm.NewTool(EndCallName, description, func(_ context.Context, rc *agent.RunContext, _ struct{}) (any, error) {
		s, keep := rc.Session(), o.KeepRoom
		// The session drains, so the goodbye of this very speech is still heard.
		s.Shutdown(agent.ShutdownOptions{HangUp: !keep})
		if o.Silent {
			return nil, nil
		}
		if o.Instructions != "" {
			return o.Instructions, nil
		}
		return "Say goodbye to the user, the call is ending.", nil
	})
}
