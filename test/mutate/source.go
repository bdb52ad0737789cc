package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// switchVariable names the mutant that a run of the test binary is about.
const switchVariable = "MUTANT"

// switches is the file that is added to the mutated package.
const switches = `package %s

import (
	"os"
	"strconv"
)

var mutantID, _ = strconv.Atoi(os.Getenv("` + switchVariable + `"))

func mutantOn(id int) bool { return id == mutantID }

func mutantDrop[T any](id int, v T) T {
	if mutantOn(id) {
		var zero T
		return zero
	}
	return v
}

func mutantKeep[T any](id int, old, v T) T {
	if mutantOn(id) {
		return old
	}
	return v
}

func mutantInt(id, v int) int {
	if mutantOn(id) {
		return v + 1
	}
	return v
}

var _ = mutantDrop[int]
var _ = mutantKeep[int]
var _ = mutantInt
`

// mutant is one change of the source.
type mutant struct {
	id       int
	at, what string
}

// instrument writes the sources of a package with all mutants into work, and the overlay that puts them in place. Lines in refused
// ("file.go:12") get none of the mutants that need the compiler's consent.
func instrument(dir, work string, refused map[string]bool) ([]mutant, string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, "", err
	}
	var mutants []mutant
	replace := map[string]string{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		in := &instrumented{name: filepath.Base(name), fset: token.NewFileSet(), refused: refused, mutants: mutants}
		if err := in.file(name); err != nil {
			return nil, "", err
		}
		mutants = in.mutants
		replace[name] = filepath.Join(work, in.name)
		if err := os.WriteFile(replace[name], in.text(), 0o600); err != nil {
			return nil, "", err
		}
		added := filepath.Join(dir, "mutants.go")
		replace[added] = filepath.Join(work, "mutants.go.txt")
		if err := os.WriteFile(replace[added], fmt.Appendf(nil, switches, in.parsed.Name.Name), 0o600); err != nil {
			return nil, "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, "", err
	}
	at := filepath.Join(work, "overlay.json")
	return mutants, at, os.WriteFile(at, overlay, 0o600)
}

// instrumented is one file with what is put in between. No line is added, so that the compiler's lines are the file's.
type instrumented struct {
	name    string
	fset    *token.FileSet
	parsed  *ast.File
	source  []byte
	refused map[string]bool
	mutants []mutant
	before  map[int]string // by offset: what opens there, outer first
	after   map[int]string // by offset: what closes there, inner first
}

func (in *instrumented) file(name string) (err error) {
	in.before, in.after = map[int]string{}, map[int]string{}
	if in.source, err = os.ReadFile(name); err != nil { //nolint:gosec // a source file of the package that was named
		return err
	}
	if in.parsed, err = parser.ParseFile(in.fset, name, in.source, parser.SkipObjectResolution); err != nil {
		return err
	}
	for _, d := range in.parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
			ast.Inspect(f.Body, in.visit)
		}
	}
	return nil
}

// text returns the file with its mutants.
func (in *instrumented) text() []byte {
	var out []byte
	for n := 0; n <= len(in.source); n++ {
		out = append(out, in.after[n]...)
		out = append(out, in.before[n]...)
		if n < len(in.source) {
			out = append(out, in.source[n])
		}
	}
	return out
}

// visit makes the mutants of one node. It comes to outer nodes first.
func (in *instrumented) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.DeclStmt:
		g, ok := n.Decl.(*ast.GenDecl)
		return !ok || g.Tok != token.CONST
	case *ast.BlockStmt:
		in.statements(n.List)
	case *ast.CaseClause:
		in.statements(n.Body)
	case *ast.IfStmt:
		in.negate(n.Cond)
	case *ast.SwitchStmt:
		if n.Tag == nil {
			for _, c := range n.Body.List {
				for _, condition := range c.(*ast.CaseClause).List {
					in.negate(condition)
				}
			}
		}
	case *ast.ReturnStmt:
		for _, r := range n.Results {
			if isComparison(r) {
				in.negate(r)
			}
		}
	case *ast.BinaryExpr:
		in.operands(n)
	case *ast.KeyValueExpr:
		in.field(n)
	case *ast.BasicLit:
		if n.Kind == token.INT {
			in.around(n, "a number too big", "mutantInt(%d, ", ")", true)
		}
	case *ast.Ident:
		if n.Name == "true" || n.Name == "false" {
			in.around(n, n.Name+" turned", "(mutantOn(%d) != ", ")", false)
		}
	}
	return true
}

// statements leaves out what stands alone.
func (in *instrumented) statements(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.ExprStmt:
			in.around(s, "left out", "if !mutantOn(%d) { ", " }", false)
		case *ast.BranchStmt:
			in.around(s, s.Tok.String()+" left out", "if !mutantOn(%d) { ", " }", false)
		case *ast.AssignStmt:
			in.assignment(s)
		}
	}
}

// assignment leaves out one assigned value.
func (in *instrumented) assignment(s *ast.AssignStmt) {
	if s.Tok != token.ASSIGN || len(s.Lhs) != len(s.Rhs) {
		return
	}
	for n, to := range s.Lhs {
		if name, ok := to.(*ast.Ident); ok && name.Name == "_" {
			continue
		}
		old := strings.ReplaceAll(in.words(to), "%", "%%")
		in.around(s.Rhs[n], in.words(to)+" not assigned", "mutantKeep(%d, "+old+", ", ")", true)
	}
}

// negate turns a condition. A compound one has its operands dropped instead.
func (in *instrumented) negate(condition ast.Expr) {
	if b, ok := condition.(*ast.BinaryExpr); ok && (b.Op == token.LAND || b.Op == token.LOR) {
		return
	}
	in.around(condition, "condition turned", "(mutantOn(%d) != (", "))", false)
}

// operands drops the operands of && and ||, one at a time.
func (in *instrumented) operands(b *ast.BinaryExpr) {
	for _, side := range []ast.Expr{b.X, b.Y} {
		switch b.Op {
		case token.LAND:
			in.around(side, "operand dropped", "(mutantOn(%d) || ", ")", false)
		case token.LOR:
			in.around(side, "operand dropped", "(!mutantOn(%d) && (", "))", false)
		}
		if isComparison(side) && (b.Op == token.LAND || b.Op == token.LOR) {
			in.around(side, "condition turned", "(mutantOn(%d) != (", "))", false)
		}
	}
}

// field leaves a field of a composite literal out.
func (in *instrumented) field(kv *ast.KeyValueExpr) {
	if _, named := kv.Key.(*ast.Ident); !named {
		return
	}
	in.around(kv.Value, in.words(kv.Key)+" left out", "mutantDrop(%d, ", ")", true)
}

func isComparison(e ast.Expr) bool {
	b, ok := e.(*ast.BinaryExpr)
	return ok && slices.Contains([]token.Token{token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ}, b.Op)
}

// around puts a mutant around a node. asks says that the compiler may not take it.
func (in *instrumented) around(n ast.Node, what, opening, closing string, asks bool) {
	at := in.fset.Position(n.Pos())
	where := fmt.Sprintf("%s:%d", in.name, at.Line)
	end := in.fset.Position(n.End())
	if asks {
		for line := at.Line; line <= end.Line; line++ {
			if in.refused[fmt.Sprintf("%s:%d", in.name, line)] {
				return
			}
		}
	}
	m := mutant{id: len(in.mutants) + 1, at: where, what: what + ": " + strings.Join(strings.Fields(in.words(n)), " ")}
	in.mutants = append(in.mutants, m)
	in.before[at.Offset] += fmt.Sprintf(opening, m.id)
	in.after[end.Offset] = closing + in.after[end.Offset]
}

// words is a node as it is written.
func (in *instrumented) words(n ast.Node) string {
	return string(in.source[in.fset.Position(n.Pos()).Offset:in.fset.Position(n.End()).Offset])
}
