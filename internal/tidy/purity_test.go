package tidy

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// worldly are the imports a pure package must not have, with what to do instead;
// a trailing slash stands for everything below.
var worldly = []struct{ path, instead string }{
	{"os", "take bytes or an interface as an argument"},
	{"os/", "take bytes or an interface as an argument"},
	{"syscall", "leave the system to an adapter"},
	{"net", "emit a message and let an adapter send it"},
	{"net/", "emit a message and let an adapter send it"},
	{"sync", "a pure package runs on one goroutine; share immutable values"},
	{"sync/", "a pure package runs on one goroutine; share immutable values"},
	{"math/rand", "take a *rand.Rand of math/rand/v2, made from the seed, as an argument"},
	{"crypto/rand", "take random bytes as an argument"},
	{"io/ioutil", "take bytes or an interface as an argument"},
	{"log", "return a typed error or a counter; adapters log"},
	{"log/", "return a typed error or a counter; adapters log"},
	{"context", "take the deadline as a time.Duration"},
}

// durations is all of package time that a pure package may name.
var durations = []string{"Duration", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour"}

// seeded is all of math/rand/v2 that does not use the global source.
var seeded = []string{"New", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "PCG", "ChaCha8", "Source", "Zipf"}

// checkPurity holds the pure levels to no clock, disk, network, lock, goroutine,
// channel or chance of their own.
func checkPurity(f *source) []finding {
	if u, known := unitOf(f.dir); f.isTest || !known || u.class != pure {
		return nil
	}
	return slices.Concat(f.worldlyImports(), f.clocks(), f.chances(), f.concurrency())
}

func (f *source) worldlyImports() (out []finding) {
	for _, imp := range f.ast.Imports {
		path := importPath(imp)
		for _, w := range worldly {
			if path == w.path || strings.HasSuffix(w.path, "/") && strings.HasPrefix(path, w.path) {
				out = append(out, f.at(imp.Pos(), "a pure package imports %s: %s", path, w.instead))
			}
		}
		if imp.Name != nil && imp.Name.Name == "." {
			out = append(out, f.at(imp.Pos(), "a dot import hides what is used of %s: import it by name", path))
		}
	}
	return out
}

func (f *source) clocks() (out []finding) {
	f.uses("time", func(sel *ast.SelectorExpr) {
		if !slices.Contains(durations, sel.Sel.Name) {
			out = append(out, f.at(sel.Pos(), "time.%s in a pure package: now and deadlines are arguments, of type time.Duration", sel.Sel.Name))
		}
	})
	return out
}

func (f *source) chances() (out []finding) {
	f.uses("math/rand/v2", func(sel *ast.SelectorExpr) {
		if !slices.Contains(seeded, sel.Sel.Name) {
			out = append(out, f.at(sel.Pos(), "rand.%s uses the global random source: take a *rand.Rand as an argument", sel.Sel.Name))
		}
	})
	return out
}

func (f *source) concurrency() (out []finding) {
	const instead = "a pure package takes one step at a time: return the work in Ready, or as a value, and let the driver do it"
	bad := func(pos token.Pos, what string) {
		out = append(out, f.at(pos, "%s in a pure package: %s", what, instead))
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			bad(n.Pos(), "a go statement")
		case *ast.SelectStmt:
			bad(n.Pos(), "a select")
		case *ast.ChanType:
			bad(n.Pos(), "a channel")
		case *ast.SendStmt:
			bad(n.Pos(), "a send")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				bad(n.Pos(), "a receive")
			}
		}
		return true
	})
	return out
}
