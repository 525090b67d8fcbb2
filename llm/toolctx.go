package llm

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/parley-go/parley/llm/driver"
)

// Tool is something a model can call: a *FunctionTool or a Toolset of them.
type Tool interface {
	// ID names the tool.
	ID() string
}

// Toolset is a Tool that stands for several. A session asks for Tools at every request; they return at
// once, and from any goroutine.
type Toolset interface {
	Tool
	Tools() []Tool
}

// ManagedToolset is a Toolset that needs something before its tools can be used: a connection, a list
// from a server. It is comparable, as pointers are. A session calls Setup when the first agent that
// uses the toolset is to take over (or the session starts, for a toolset of the session), and Close
// when the last one is gone; both once, and again in that order for the next use. Requests to the
// model wait for Setup, which has 10 s; whether Setup fails is only logged. Toolsets inside of this
// one are its own affair. It belongs to one session at a time.
type ManagedToolset interface {
	Toolset
	// Setup makes the tools usable. ctx ends when Setup returns, its time is over or nobody wants the
	// tools any more.
	Setup(ctx context.Context) error
	// Close releases what Setup made, also of a Setup that failed.
	Close() error
}

// NewToolset groups tools under a name.
func NewToolset(id string, tools ...Tool) Toolset { return &group{id, slices.Clone(tools)} }

type group struct {
	id    string
	tools []Tool
}

func (g *group) ID() string    { return g.id }
func (g *group) Tools() []Tool { return g.tools }

// maxToolDepth bounds toolsets in toolsets, so that one in itself is an error and no overflow.
const maxToolDepth = 16

// ToolContext is the flat view of a list of tools. It is immutable.
type ToolContext struct {
	tools  []*FunctionTool
	byName map[string]*FunctionTool
	specs  []driver.ToolSpec
}

// NewToolContext flattens tools and the toolsets among them, in order. Two different tools of the
// same name are an error, the same one twice is fine, and so is a nil tool. Tools that are
// neither a *FunctionTool nor a Toolset are refused.
func NewToolContext(tools ...Tool) (*ToolContext, error) {
	c := &ToolContext{byName: make(map[string]*FunctionTool, len(tools))}
	if err := c.add(tools, 0); err != nil {
		return nil, err
	}
	c.specs = make([]driver.ToolSpec, len(c.tools))
	for i, t := range c.tools {
		c.specs[i] = t.Spec()
	}
	return c, nil
}

func (c *ToolContext) add(tools []Tool, depth int) error {
	if depth > maxToolDepth {
		return fmt.Errorf("toolsets are nested more than %d deep", maxToolDepth)
	}
	for _, t := range tools {
		switch t := t.(type) {
		case nil:
		case *FunctionTool:
			if err := c.addFunction(t); err != nil {
				return err
			}
		case Toolset:
			if err := c.add(t.Tools(), depth+1); err != nil {
				return fmt.Errorf("toolset %q: %w", t.ID(), err)
			}
		default:
			return fmt.Errorf("tool %q is a %T, neither a function tool nor a toolset", t.ID(), t)
		}
	}
	return nil
}

func (c *ToolContext) addFunction(t *FunctionTool) error {
	if t == nil {
		return nil
	}
	if err := t.Err(); err != nil {
		return err
	}
	switch old := c.byName[t.Name]; old {
	case t:
		return nil
	case nil:
		c.byName[t.Name] = t
		c.tools = append(c.tools, t)
		return nil
	default:
		return fmt.Errorf("two tools are named %q", t.Name)
	}
}

// Get returns the function tool of that name. A nil context has none.
func (c *ToolContext) Get(name string) (*FunctionTool, bool) {
	if c == nil {
		return nil, false
	}
	t, ok := c.byName[name]
	return t, ok
}

// Names are the names of all functions in order.
func (c *ToolContext) Names() []string {
	var names []string
	for t := range c.All() {
		names = append(names, t.Name)
	}
	return names
}

// All goes through the functions in order.
func (c *ToolContext) All() iter.Seq[*FunctionTool] {
	if c == nil {
		return func(func(*FunctionTool) bool) {}
	}
	return slices.Values(c.tools)
}

// Specs are the functions as a model sees them, in order.
func (c *ToolContext) Specs() []driver.ToolSpec {
	if c == nil {
		return nil
	}
	return slices.Clone(c.specs)
}

// Equal reports whether both have the same tools, in whatever order.
func (c *ToolContext) Equal(o *ToolContext) bool {
	if len(c.Names()) != len(o.Names()) {
		return false
	}
	for t := range c.All() {
		if other, _ := o.Get(t.Name); other != t {
			return false
		}
	}
	return true
}
