package tidy

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
)

// linesMax is the longest a production file may be: beyond it nobody reads it whole.
const linesMax = 600

// loose are the marks of unfinished work, spelled apart so as not to find themselves.
var loose = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

// checkComments finds marks of unfinished work.
func checkComments(f *source) (out []finding) {
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if mark := loose.FindString(c.Text); mark != "" {
				out = append(out, f.at(c.Pos(), "a %s: do it, or write a failing test, or open an issue", mark))
			}
		}
	}
	return out
}

// checkTests finds tests that do not run and tests that wait for a time instead of
// for an event. Sleeping is right in a testing/synctest bubble, where time is virtual.
func checkTests(f *source) (out []finding) {
	if !f.isTest {
		return nil
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
			if _, ok := sel.X.(*ast.Ident); ok {
				out = append(out, f.at(call.Pos(), "a skipped test guards nothing: make it run everywhere, or give it a build constraint"))
			}
		}
		return true
	})
	if f.imported("testing/synctest") != "" {
		return out
	}
	f.uses("time", func(sel *ast.SelectorExpr) {
		if sel.Sel.Name == "Sleep" {
			out = append(out, f.at(sel.Pos(), "time.Sleep in a test: wait on a channel, or poll with a deadline on a time.Ticker"))
		}
	})
	return out
}

// checkLength finds files with more than one idea.
func checkLength(f *source) []finding {
	if n := len(f.lines) - 1; !f.isTest && n > linesMax {
		return []finding{f.at(f.ast.Package, "%d lines, %d is the most: one idea a file, so give the second one its own", n, linesMax)}
	}
	return nil
}

// checkPanics finds panics below the composition root: what breaks an invariant goes
// through internal/assert, with the rule's name, and everything else is an error.
func checkPanics(f *source) (out []finding) {
	u, known := unitOf(f.dir)
	if f.isTest || !known || u.level > calm || u.class == forTest || f.dir == "internal/assert" {
		return nil
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "panic" && !shadowed(id) && !f.excused(call.Pos(), "unreachable") {
			out = append(out, f.at(call.Pos(), "a panic: return an error, use internal/assert for a rule of the protocol, or add // unreachable: why"))
		}
		return true
	})
	return out
}

// wellKnown methods say what they do by their name and signature.
var wellKnown = []string{"String", "Error", "Unwrap", "Is", "As", "MarshalText", "UnmarshalText", "MarshalJSON", "UnmarshalJSON",
	"Len", "Less", "Swap", "Push", "Pop"}

// checkDocs finds exported names of the lower levels without a sentence. In a group
// of constants or variables the group's sentence, or one beside the name, will do; a
// group that lists the values of a type is covered by the sentence at the type.
func checkDocs(f *source) (out []finding) {
	if u, known := unitOf(f.dir); f.isTest || !known || u.level > documented || u.class == forTest {
		return nil
	}
	missing := func(id *ast.Ident) {
		out = append(out, f.at(id.Pos(), "%s is exported without a sentence: say what it gives, in which units, and when it fails", id.Name))
	}
	for _, decl := range f.ast.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && !(d.Recv != nil && (slices.Contains(wellKnown, d.Name.Name) || !exportedType(d.Recv))) {
				missing(d.Name)
			}
		case *ast.GenDecl:
			for _, id := range undocumented(d) {
				missing(id)
			}
		}
	}
	return out
}

func exportedType(recv *ast.FieldList) bool {
	t := recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

func undocumented(d *ast.GenDecl) (out []*ast.Ident) {
	if d.Tok == token.IMPORT {
		return nil
	}
	values := false // a group of a type's values
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && (d.Doc == nil || len(d.Specs) > 1) {
				out = append(out, s.Name)
			}
		case *ast.ValueSpec:
			if s.Type != nil || s.Values != nil {
				of, named := s.Type.(*ast.Ident)
				values = named && of.IsExported() && d.Tok == token.CONST && d.Lparen.IsValid()
			}
			for _, id := range s.Names {
				if id.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil && !values {
					out = append(out, id)
				}
			}
		}
	}
	return out
}
