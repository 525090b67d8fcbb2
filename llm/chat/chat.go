// Package chat has the conversation that a language model sees and that a session remembers:
// messages, tool calls, their outputs, handoffs and changes of configuration, in order of time.
package chat
