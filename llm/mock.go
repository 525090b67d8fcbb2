package llm

import (
	"context"
	"maps"
)

type mockKey struct{}

// WithMocks returns a context in which mocks stand in for the tools of the same names, for tests: a
// session that is started with it, or FunctionTool.Call, checks the arguments against the real tool
// and then runs the mock, which gets those that it declares. Mocks of an inner context come before
// those of an outer one.
func WithMocks(ctx context.Context, mocks ...*FunctionTool) context.Context {
	all := make(map[string]*FunctionTool)
	if outer, ok := ctx.Value(mockKey{}).(map[string]*FunctionTool); ok {
		maps.Copy(all, outer)
	}
	for _, t := range mocks {
		all[t.Name] = t
	}
	return context.WithValue(ctx, mockKey{}, all)
}

// mockOf is what stands in for t in ctx; nil for nothing.
func mockOf(ctx context.Context, t *FunctionTool) *FunctionTool {
	mocks, _ := ctx.Value(mockKey{}).(map[string]*FunctionTool)
	if m := mocks[t.Name]; m != t {
		return m
	}
	return nil
}
