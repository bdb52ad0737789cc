// Package templating renders the templates of sets: Go's text/template with the labels and the name of a cluster and those of sprig's
// functions that give the same output every time. Whoever checks a set and whoever renders it use the same functions.
//
// Templates come from users. Every rendering is bounded in steps, in what its functions read and make, in nesting and in output; the
// bounds depend on the template and the cluster only, so that a template that was rendered once is rendered every time.
package templating

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// The bounds of one template.
const (
	maxActions = 10_000 // {{...}} in one text
	maxParts   = 1_000  // functions, arguments and operators of one action
)

// root names every template in the errors of text/template, from which this package takes it out again.
const root = "template"

// Template is a parsed text. It is immutable and safe for concurrent use.
type Template struct {
	text  string
	parts *template.Template // with none of the functions bound
	names []string           // the functions that it uses
}

// Templated reports whether text holds a template at all: any other is itself.
func Templated(text string) bool { return strings.Contains(text, "{{") }

// Parse reads a template. Its error is a *Fault that says on which line the syntax is wrong or a function is unknown.
func Parse(text string) (*Template, error) {
	if strings.Count(text, "{{") > maxActions {
		return nil, &Fault{Message: fmt.Sprintf("has more than %d actions", maxActions)}
	}
	parsed, err := template.New(root).Funcs(allowed()).Parse(text)
	if err != nil {
		return nil, faultOf(err)
	}
	w := walk{used: map[string]bool{}}
	for _, t := range parsed.Templates() {
		if t.Tree != nil && t.Root != nil {
			w.body(t.Root)
		}
	}
	if w.fault != nil {
		return nil, w.fault
	}
	return w.lean(text, parsed)
}

// Static reports whether the output is the same for every cluster.
func (t *Template) Static() bool {
	return !slices.ContainsFunc(t.names, func(name string) bool { return clusterFunctions[name] != nil })
}

// walk goes through the trees of a template before it is first used: it notes the functions, refuses actions without measure, and puts
// in front of every action the steps by which a rendering is counted.
type walk struct {
	used  map[string]bool
	fault *Fault
}

// The counting actions. They are not among the functions that a text is parsed with, so no text can call them.
const (
	stepName, enterName, leaveName = "countStep", "countEnter", "countLeave"
)

var stepNode, enterNode, leaveNode = counting(stepName), counting(enterName), counting(leaveName)

func counting(name string) parse.Node {
	trees, err := parse.Parse(root, "{{"+name+"}}", "", "", map[string]any{name: func() string { return "" }})
	if err != nil {
		panic(err) // of a constant text
	}
	return trees[root].Root.Nodes[0]
}

// body goes through a list of nodes that is executed as one, and counts it even when it is empty.
func (w *walk) body(list *parse.ListNode) {
	if list == nil {
		return
	}
	nodes := []parse.Node{stepNode}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.TextNode, *parse.CommentNode:
			nodes = append(nodes, n)
			continue
		case *parse.TemplateNode:
			w.pipe(n.Pipe, n.Line)
			nodes = append(nodes, enterNode, n, leaveNode)
			continue
		case *parse.ActionNode:
			w.pipe(n.Pipe, n.Line)
		case *parse.IfNode:
			w.branch(&n.BranchNode)
		case *parse.WithNode:
			w.branch(&n.BranchNode)
		case *parse.RangeNode:
			w.branch(&n.BranchNode)
		}
		nodes = append(nodes, stepNode, n)
	}
	list.Nodes = nodes
}

func (w *walk) branch(n *parse.BranchNode) {
	w.pipe(n.Pipe, n.Line)
	w.body(n.List)
	w.body(n.ElseList)
}

func (w *walk) pipe(p *parse.PipeNode, line int) {
	if p == nil {
		return
	}
	if w.parts(p) > maxParts && w.fault == nil {
		w.fault = &Fault{Line: line, Message: fmt.Sprintf("an action has more than %d parts", maxParts)}
	}
}

// parts counts what a node is made of and notes the functions in it.
func (w *walk) parts(n parse.Node) int {
	count := 1
	switch n := n.(type) {
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			count += w.parts(c)
		}
	case *parse.CommandNode:
		for _, a := range n.Args {
			count += w.parts(a)
		}
	case *parse.ChainNode:
		count += w.parts(n.Node)
	case *parse.IdentifierNode:
		w.used[n.Ident] = true
	}
	return count
}

// lean makes a template that knows of the functions it uses and no others: it is copied for every rendering.
func (w *walk) lean(text string, parsed *template.Template) (*Template, error) {
	t := &Template{text: text, names: []string{stepName, enterName, leaveName}}
	for name := range w.used {
		if functions[name] != nil {
			t.names = append(t.names, name)
		}
	}
	slices.Sort(t.names)
	t.parts = template.New(root).Option("missingkey=error")
	for _, part := range parsed.Templates() {
		if _, err := t.parts.AddParseTree(part.Name(), part.Tree); err != nil {
			return nil, faultOf(err)
		}
	}
	return t, nil
}

// errNoValue is what an expression without a value is: it would be rendered as the words "<no value>".
var errNoValue = errors.New("an expression has no value")
