// Package anthropic has Anthropic's language models over the Messages API.
//
//	model, err := anthropic.NewLLM(nil) // ANTHROPIC_API_KEY
//
// Protocol: https://platform.claude.com/docs/en/api/messages
package anthropic
