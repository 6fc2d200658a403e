package tidy

import (
	"errors"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// ordered is the one package in which an unordered walk over a map is a fault by
// itself: the simulator replays it bit for bit from a seed.
const ordered = "node/core"

// checkMaps finds walks over maps in node/core whose order nobody vouches for.
func checkMaps(files []*source) (out []finding) {
	pkgs := newPackages(files)
	info := pkgs.check(ordered)
	for _, f := range files {
		if f.dir != ordered || f.isTest {
			continue
		}
		out = append(out, f.mapRanges(info)...)
		out = append(out, f.mapIterators()...)
	}
	return out
}

const sortInstead = "walk sorted keys or a slice kept in order, or add // order-free: why"

func (f *source) mapRanges(info *types.Info) (out []finding) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		loop, ok := n.(*ast.RangeStmt)
		if !ok {
			return true
		}
		t := info.TypeOf(loop.X)
		if t == nil {
			return true
		}
		if _, isMap := t.Underlying().(*types.Map); isMap && !f.excused(loop.Pos(), "order-free") {
			out = append(out, f.at(loop.Pos(), "range over a map: its order differs from run to run; %s", sortInstead))
		}
		return true
	})
	return out
}

// mapIterators finds maps.Keys and its like outside a sorting function.
func (f *source) mapIterators() (out []finding) {
	sorted := make(map[ast.Expr]bool)
	f.uses("slices", func(sel *ast.SelectorExpr) {
		if strings.HasPrefix(sel.Sel.Name, "Sorted") {
			sorted[sel] = true
		}
	})
	inside := make(map[token.Pos]bool)
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && sorted[call.Fun] {
			for _, arg := range call.Args {
				inside[arg.Pos()] = true
			}
		}
		return true
	})
	f.uses("maps", func(sel *ast.SelectorExpr) {
		if slices.Contains([]string{"Keys", "Values", "All", "DeleteFunc"}, sel.Sel.Name) && !inside[sel.Pos()] && !f.excused(sel.Pos(), "order-free") {
			out = append(out, f.at(sel.Pos(), "maps.%s has no order: %s", sel.Sel.Name, sortInstead))
		}
	})
	return out
}

// packages type-checks the module's own packages, as far as needed to know what is
// a map. Everything else is left unknown, which is enough.
type packages struct {
	files map[string][]*source
	done  map[string]*types.Package
}

func newPackages(files []*source) *packages {
	p := &packages{files: make(map[string][]*source), done: make(map[string]*types.Package)}
	for _, f := range files {
		if !f.isTest {
			p.files[f.dir] = append(p.files[f.dir], f)
		}
	}
	return p
}

var errForeign = errors.New("not of this module")

// Import is types.Importer.
func (p *packages) Import(path string) (*types.Package, error) {
	dir, ours := strings.CutPrefix(path, module+"/")
	if !ours || len(p.files[dir]) == 0 {
		return nil, errForeign
	}
	if p.done[dir] == nil {
		p.check(dir)
	}
	if p.done[dir] == nil {
		return nil, errForeign
	}
	return p.done[dir], nil
}

// check gives the types of one package's expressions; errors leave holes.
func (p *packages) check(dir string) *types.Info {
	info := &types.Info{Types: make(map[ast.Expr]types.TypeAndValue), Defs: make(map[*ast.Ident]types.Object), Uses: make(map[*ast.Ident]types.Object)}
	var asts []*ast.File
	for _, f := range p.files[dir] {
		asts = append(asts, f.ast)
	}
	if len(asts) == 0 {
		return info
	}
	config := types.Config{Importer: p, Error: func(error) {}, FakeImportC: true}
	pkg, _ := config.Check(module+"/"+dir, p.files[dir][0].fset, asts, info) // holes are expected
	p.done[dir] = pkg
	return info
}
