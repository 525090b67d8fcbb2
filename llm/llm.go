// Package llm is the front of language models: a Model sends a conversation and gives back a
// Stream of text and tool calls.
//
//	m := rules.New(nil) // or any other plugin
//	stream := m.Chat(ctx, &llm.Request{Messages: conversation})
//	for chunk, err := range stream.All() {
//		...
//	}
//
// A plugin implements package llm/driver; what all models have in common is done here, once:
// retry, timeouts, time to first token, usage and its metrics event, tracing, errors as events.
// Tools are plain functions, see NewTool. Package llm/scripted is a model for tests.
package llm

import "github.com/parley-go/parley/llm/driver"

// The types that cross between Model and its driver.
type (
	// Chunk is a piece of an answer. Any part may be empty.
	Chunk = driver.Chunk
	// Usage is what the provider bills for a request.
	Usage = driver.Usage
	// ToolCall is a call the model decided on.
	ToolCall = driver.ToolCall
	// ToolChoice says whether the model may or must call tools; the zero value means it may.
	ToolChoice = driver.ToolChoice
	// ToolMode is how free the model is to call tools.
	ToolMode = driver.ToolMode
	// ToolSpec is a tool as the model sees it.
	ToolSpec = driver.ToolSpec
)

// The modes of a ToolChoice; the empty mode means ToolAuto.
const (
	ToolAuto     = driver.ToolAuto
	ToolNone     = driver.ToolNone
	ToolRequired = driver.ToolRequired
	ToolFunction = driver.ToolFunction // exactly the one named in ToolChoice.Function
)
