package tidy

import (
	"fmt"
	"slices"
	"strings"
)

const module = "github.com/quoratedb/quorate"

// unit is one row of the table of levels: a package, or a tree of packages.
type unit struct {
	dir   string
	level int
	class class
	tree  bool     // packages below it belong to it and may import each other
	only  []string // if set, nobody else may import it
}

// class says what a package may touch.
type class int

const (
	pure    class = iota // no clock, disk, network, goroutine, lock or global random source
	adapter              // touches the world, thinly
	plain                // neither decides nor touches anything
	forTest              // only tests may import it
)

// table is the import order of the house: a package imports only from lower levels.
// A new package gets its row here, and in the architecture's table, first.
var table = []unit{
	{dir: "internal/assert", level: 0, class: pure},
	{dir: "internal/plant", level: 0, class: pure},
	{dir: "internal/buildinfo", level: 0, class: plain},
	{dir: "internal/process", level: 0, class: adapter},
	{dir: "internal/freeport", level: 0, class: adapter},
	{dir: "internal/httpsent", level: 0, class: adapter},
	{dir: "internal/tidy", level: 0, class: forTest},
	{dir: "internal/thirdparty", level: 0, class: forTest},
	{dir: "hashring", level: 1, class: pure},
	{dir: "quorum/version", level: 1, class: pure},
	{dir: "quorum", level: 2, class: pure},
	{dir: "quorum/strong", level: 2, class: pure},
	{dir: "antientropy", level: 2, class: pure},
	{dir: "node/core", level: 3, class: pure},
	{dir: "node/wire", level: 4, class: pure},
	{dir: "node/api", level: 4, class: pure},
	{dir: "internal/leveldisk", level: 4, class: adapter, only: []string{"node/store", "hashring/ringraft", "internal/leveldisk/crashfs"}},
	{dir: "internal/leveldisk/crashfs", level: 5, class: forTest},
	{dir: "node/httpapi/h1", level: 4, class: adapter, only: []string{"node/httpapi", "node"}},
	{dir: "node/store", level: 5, class: adapter},
	{dir: "node/peer", level: 5, class: adapter},
	{dir: "node/httpapi", level: 5, class: adapter},
	{dir: "node/frames", level: 5, class: adapter},
	{dir: "gossip", level: 5, class: adapter},
	{dir: "hashring/ringraft", level: 5, class: adapter},
	{dir: "node", level: 6, class: adapter},
	{dir: "client", level: 6, class: adapter},
	{dir: "sim/check", level: 6, class: pure},
	{dir: "sim/report", level: 7, class: pure},
	{dir: "sim", level: 7, class: adapter, tree: true},
	{dir: "cmd/quorate", level: 8, class: adapter, tree: true},
}

// documented is the highest level whose exported names all need a sentence, and
// calm the highest that must not panic outside internal/assert.
const (
	documented = 3
	calm       = 5
)

// unitOf finds the row of a folder.
func unitOf(dir string) (unit, bool) {
	for _, u := range table {
		if u.dir == dir || u.tree && strings.HasPrefix(dir, u.dir+"/") {
			return u, true
		}
	}
	return unit{}, false
}

// checkImports holds production code to the table. Tests may import what they need:
// the core's tests send every message through the real codec, for one.
func checkImports(f *source) (out []finding) {
	if f.isTest {
		return nil
	}
	from, known := unitOf(f.dir)
	if !known {
		return []finding{f.at(f.ast.Package, "package %s is in no row of the table of levels: give it one in internal/tidy/levels_test.go "+
			"and in the architecture's table, or put the code where it belongs", f.dir)}
	}
	for _, imp := range f.ast.Imports {
		path := importPath(imp)
		dir, ours := strings.CutPrefix(path, module+"/")
		if !ours {
			continue
		}
		if wrong := wrongImport(from, dir); wrong != "" {
			out = append(out, f.at(imp.Pos(), "%s", wrong))
		}
	}
	return out
}

// wrongImport says why a unit may not import a folder, and what to do instead.
func wrongImport(from unit, dir string) string {
	to, known := unitOf(dir)
	switch {
	case !known:
		return fmt.Sprintf("imports %s, which is in no row of the table of levels", dir)
	case to.dir == from.dir:
		return ""
	case to.class == forTest:
		return fmt.Sprintf("imports %s, which is for tests only", dir)
	case to.only != nil && !slices.Contains(to.only, from.dir):
		return fmt.Sprintf("imports %s, which belongs to %s alone: ask one of them for what you need", dir, strings.Join(to.only, " and "))
	case to.level > from.level:
		return fmt.Sprintf("level %d imports %s of level %d: declare an interface here and let the higher level fill it", from.level, dir, to.level)
	case to.level == from.level:
		return fmt.Sprintf("imports %s of its own level %d: packages of one level do not see each other, a higher one joins them", dir, to.level)
	}
	return ""
}
