package tidy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// source is one parsed file, its name relative to the module's root, with slashes.
type source struct {
	name   string
	dir    string
	isTest bool
	lines  []string
	ast    *ast.File
	fset   *token.FileSet
}

// finding is one broken rule.
type finding struct {
	file string
	line int
	text string
}

func (f finding) String() string { return fmt.Sprintf("%s:%d: %s", f.file, f.line, f.text) }

func (f *source) at(pos token.Pos, format string, args ...any) finding {
	return finding{f.name, f.line(pos), fmt.Sprintf(format, args...)}
}

func (f *source) line(pos token.Pos) int { return f.fset.Position(pos).Line }

// excused tells whether the line of pos carries a comment "// word: reason".
func (f *source) excused(pos token.Pos, word string) bool {
	_, reason, found := strings.Cut(f.lines[f.line(pos)-1], "// "+word+":")
	return found && strings.TrimSpace(reason) != ""
}

// parse reads one file.
func parse(fset *token.FileSet, name string, text []byte) (*source, error) {
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parsing: %w", err)
	}
	return &source{
		name: name, dir: path.Dir(name), isTest: strings.HasSuffix(name, "_test.go"),
		lines: strings.Split(string(text), "\n"), ast: file, fset: fset,
	}, nil
}

// readModule parses every Go file of the module that root is in. Folders that are
// hidden, that hold test data, or that are a module of their own are left out.
func readModule(root string) ([]*source, error) {
	fset := token.NewFileSet()
	var files []*source
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if rel != "." && leftOut(name, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := parse(fset, filepath.ToSlash(rel), text)
		if err != nil {
			return err
		}
		files = append(files, file)
		return nil
	})
	return files, err
}

func leftOut(path, name string) bool {
	if name[0] == '.' || name[0] == '_' || name == "testdata" || name == "vendor" {
		return true
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil
}

// moduleRoot is the folder of go.mod above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			err = fmt.Errorf("no go.mod above %s", dir)
		}
		dir = up
	}
	return "", err
}

func importPath(imp *ast.ImportSpec) string {
	p, err := strconv.Unquote(imp.Path.Value)
	if err != nil {
		return imp.Path.Value
	}
	return p
}

// imported gives the name under which the file has imported path, "" if it has not.
func (f *source) imported(path string) string {
	for _, imp := range f.ast.Imports {
		if importPath(imp) != path {
			continue
		}
		if imp.Name != nil {
			return imp.Name.Name
		}
		return filepath.Base(strings.TrimSuffix(path, "/v2"))
	}
	return ""
}

// uses calls do with every pkg.Name of the file, path being pkg's import path.
func (f *source) uses(path string, do func(sel *ast.SelectorExpr)) {
	name := f.imported(path)
	if name == "" {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok && id.Name == name && !shadowed(id) {
			do(sel)
		}
		return true
	})
}

// shadowed tells whether an identifier names something declared in the file rather
// than an import.
func shadowed(id *ast.Ident) bool { return id.Obj != nil }
