// Package onnx reads the graph and the weights of an ONNX file. It does not run anything.
//
// Names and raw values are slices of the file, nothing is copied before an accessor asks for
// it. Everything that Parse returns is immutable and safe for concurrent use.
package onnx

import (
	"fmt"
	"iter"
)

// maxDepth is how deep sub-graphs may be nested. Real models use one or two levels.
const maxDepth = 16

// Graph is a row of nodes with the constant tensors they use.
type Graph struct {
	Nodes        []*Node
	Initialisers []*Tensor
	Inputs       []string // names
	Outputs      []string // names
	tensors      map[string]*Tensor
}

// Node is one operation of a graph.
type Node struct {
	Name    string // may be empty
	Op      string // e.g. "Conv"
	Inputs  []string
	Outputs []string
	Attrs   []Attr
}

// Attr is an attribute of a node. Only what its kind uses is set.
type Attr struct {
	Name   string
	Int    int64
	Ints   []int64
	Tensor *Tensor
	Graph  *Graph
}

// Parse reads an ONNX file. The graph keeps file in memory. Malformed input is an error.
func Parse(file string) (*Graph, error) {
	var g *Graph
	err := eachField(file, func(f field) (err error) {
		if f.id == 7 {
			g, err = parseGraphField(f, 1)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("parse onnx file: %w", err)
	}
	if g == nil {
		return nil, fmt.Errorf("parse onnx file: no graph in it")
	}
	return g, nil
}

// Tensor returns the named constant of this graph: an initialiser, or the value of a Constant
// node under the name of the node's output. It does not look into sub-graphs.
func (g *Graph) Tensor(name string) (*Tensor, error) {
	if t := g.tensors[name]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("tensor %q: not in the graph", name)
}

// Graphs iterates over g and all its sub-graphs, depth first, in the order of the file.
func (g *Graph) Graphs() iter.Seq[*Graph] {
	return func(yield func(*Graph) bool) { g.walk(yield) }
}

func (g *Graph) walk(yield func(*Graph) bool) bool {
	if !yield(g) {
		return false
	}
	for _, n := range g.Nodes {
		for i := range n.Attrs {
			if sub := n.Attrs[i].Graph; sub != nil && !sub.walk(yield) {
				return false
			}
		}
	}
	return true
}

// Constants iterates over the tensors of this graph, without its sub-graphs: the initialisers,
// then the values of the Constant nodes, each in the order of the file.
func (g *Graph) Constants() iter.Seq[*Tensor] {
	return func(yield func(*Tensor) bool) {
		for _, t := range g.Initialisers {
			if !yield(t) {
				return
			}
		}
		for _, n := range g.Nodes {
			if t := n.constant(); t != nil && !yield(t) {
				return
			}
		}
	}
}

// Attr returns the named attribute, nil if the node has none of that name.
func (n *Node) Attr(name string) *Attr {
	for i := range n.Attrs {
		if n.Attrs[i].Name == name {
			return &n.Attrs[i]
		}
	}
	return nil
}

// constant is the tensor of a Constant node, nil for other nodes.
func (n *Node) constant() *Tensor {
	if n.Op != "Constant" || len(n.Outputs) == 0 {
		return nil
	}
	for i := range n.Attrs {
		if t := n.Attrs[i].Tensor; t != nil {
			return t
		}
	}
	return nil
}

func parseGraphField(f field, depth int) (*Graph, error) {
	if err := f.expect(wireBytes); err != nil {
		return nil, fmt.Errorf("graph: %w", err)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("graph: nested deeper than %d levels", maxDepth)
	}
	g := &Graph{tensors: make(map[string]*Tensor)}
	if err := eachField(f.body, func(f field) error { return g.add(f, depth) }); err != nil {
		return nil, fmt.Errorf("graph: %w", err)
	}
	return g, nil
}

// add takes one field of the graph message.
func (g *Graph) add(f field, depth int) (err error) {
	switch f.id {
	case 1:
		n, err := parseNode(f, depth)
		if err != nil {
			return fmt.Errorf("node %d: %w", len(g.Nodes), err)
		}
		g.Nodes = append(g.Nodes, n)
		if t := n.constant(); t != nil {
			t.Name = n.Outputs[0]
			g.tensors[t.Name] = t
		}
	case 5:
		t, err := parseTensor(f)
		if err != nil {
			return fmt.Errorf("initialiser %d: %w", len(g.Initialisers), err)
		}
		g.Initialisers = append(g.Initialisers, t)
		g.tensors[t.Name] = t
	case 11:
		g.Inputs, err = appendValueName(g.Inputs, f)
	case 12:
		g.Outputs, err = appendValueName(g.Outputs, f)
	}
	return err
}

// appendValueName appends the name of a graph input or output; its type is not read.
func appendValueName(dst []string, f field) ([]string, error) {
	if err := f.expect(wireBytes); err != nil {
		return dst, err
	}
	var name string
	err := eachField(f.body, func(f field) error {
		if f.id == 1 {
			return f.text(&name)
		}
		return nil
	})
	return append(dst, name), err
}

func parseNode(f field, depth int) (*Node, error) {
	if err := f.expect(wireBytes); err != nil {
		return nil, err
	}
	n := &Node{}
	err := eachField(f.body, func(f field) error {
		switch f.id {
		case 1:
			n.Inputs = append(n.Inputs, "")
			return f.text(&n.Inputs[len(n.Inputs)-1])
		case 2:
			n.Outputs = append(n.Outputs, "")
			return f.text(&n.Outputs[len(n.Outputs)-1])
		case 3:
			return f.text(&n.Name)
		case 4:
			return f.text(&n.Op)
		case 5:
			a, err := parseAttr(f, depth)
			if err != nil {
				return fmt.Errorf("attribute %q: %w", a.Name, err)
			}
			n.Attrs = append(n.Attrs, a)
		}
		return nil
	})
	return n, err
}

func parseAttr(f field, depth int) (a Attr, err error) {
	if err := f.expect(wireBytes); err != nil {
		return a, err
	}
	err = eachField(f.body, func(f field) (err error) {
		switch f.id {
		case 1:
			return f.text(&a.Name)
		case 3:
			return f.integer(&a.Int)
		case 5:
			a.Tensor, err = parseTensor(f)
		case 6:
			a.Graph, err = parseGraphField(f, depth+1)
		case 8:
			a.Ints, err = f.integers(a.Ints)
		}
		return err
	})
	return a, err
}
