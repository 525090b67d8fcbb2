// Package openai has OpenAI's models: Responses, chat completions, which many other services speak too
// (see Service), speech to text, and text to speech.
//
//	model, err := openai.NewResponses(nil)                                    // OPENAI_API_KEY
//	model, err := openai.NewLLM(&openai.LLMOptions{Service: openai.Groq})     // GROQ_API_KEY
//	model, err := openai.NewSTT(&openai.STTOptions{Realtime: true})
//	model, err := openai.NewTTS(&openai.TTSOptions{Voice: "coral"})
//
// Protocol: https://platform.openai.com/docs/api-reference
package openai
