// Package google has Google's models: Gemini, which writes or converses, with a key of AI Studio or on Vertex AI,
// and Speech-to-Text of Google Cloud.
//
//	model, err := google.NewLLM(nil)      // GOOGLE_API_KEY
//	model, err := google.NewRealtime(nil) // GOOGLE_API_KEY
//	model, err := google.NewSTT(nil)      // GOOGLE_APPLICATION_CREDENTIALS
//
// Protocols: https://ai.google.dev/api/generate-content, https://ai.google.dev/api/live and
// https://cloud.google.com/speech-to-text/v2/docs/reference/rpc
package google
