// Package openai has OpenAI's models: Responses, chat completions, which many other services speak too
// (see Service), speech to text, text to speech, and the realtime model that hears and speaks itself.
//
//	model, err := openai.NewResponses(nil)                                    // OPENAI_API_KEY
//	model, err := openai.NewLLM(&openai.LLMOptions{Service: openai.Groq})     // GROQ_API_KEY
//	model, err := openai.NewSTT(&openai.STTOptions{Realtime: true})
//	model, err := openai.NewTTS(&openai.TTSOptions{Voice: "coral"})
//	model, err := openai.NewRealtime(nil)
//
// Protocol: https://platform.openai.com/docs/api-reference
package openai
