// Package cartesia has Cartesia's models: text to speech and speech to text.
//
// Protocol: https://docs.cartesia.ai/api-reference
package cartesia
