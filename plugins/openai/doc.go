// Package openai has OpenAI's models: chat completions, which many other services speak too (see
// Service), responses, speech to text, and text to speech.
//
//	model, err := openai.NewLLM(nil)                                          // OPENAI_API_KEY
//	model, err := openai.NewLLM(&openai.LLMOptions{Service: openai.Groq})     // GROQ_API_KEY
//
// Protocol: https://platform.openai.com/docs/api-reference
package openai
