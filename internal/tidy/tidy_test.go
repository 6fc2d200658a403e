package tidy

import (
	"cmp"
	"slices"
	"testing"
)

// perFile are the rules that look at one file, by the name under which the planted
// tests know them.
var perFile = []struct {
	name  string
	check func(*source) []finding
}{
	{"imports", checkImports},
	{"purity", checkPurity},
	{"comments", checkComments},
	{"tests", checkTests},
	{"length", checkLength},
	{"panics", checkPanics},
	{"docs", checkDocs},
}

// findings are all broken rules, in order of file and line.
func findings(files []*source) (out []finding) {
	for _, f := range files {
		for _, rule := range perFile {
			out = append(out, rule.check(f)...)
		}
	}
	out = append(out, checkMaps(files)...)
	slices.SortFunc(out, func(a, b finding) int { return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line)) })
	return out
}

// TestHouse holds the module to its rules.
func TestHouse(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	files, err := readModule(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d files found below %s: the rules would hold for nothing", len(files), root)
	}
	for _, f := range findings(files) {
		t.Error(f)
	}
}
