package plant

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// Every bug there is stands in just one list, so that some test must find it.
func TestListed(t *testing.T) {
	listed := slices.Concat(All(), Core(), Strong(), Judge())
	for i, b := range listed {
		if slices.Contains(listed[:i], b) {
			t.Errorf("%s is listed twice", b)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	there := 0
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != 1 {
				return true
			}
			if id, ok := v.Type.(*ast.Ident); !ok || id.Name != "Bug" {
				return true
			}
			name, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if name == "" {
				return true
			}
			if there++; !slices.Contains(listed, Bug(name)) {
				t.Errorf("%s is in no list", name)
			}
			return true
		})
	}
	if there != len(listed) || there < 100 {
		t.Errorf("%d bugs, %d listed", there, len(listed))
	}
}
