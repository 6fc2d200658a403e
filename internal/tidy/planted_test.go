package tidy

import (
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// planted is a small source that breaks one rule in the line that ends with "// !",
// or no rule at all.
type planted struct {
	name string
	file string // where it would stand
	text string // a package clause and a sentence for the exported names come first
	says string // part of the finding; "": there must be none
}

func (p planted) source() string {
	return "package p\n\n" + strings.ReplaceAll(p.text, "\t\t", "\t")
}

var plants = []planted{
	// The table of levels.
	{"import upwards", "quorum/x.go", `import _ "` + module + `/node/core" // !`, "level 2 imports node/core of level 3"},
	{"import downwards", "node/core/x.go", `import _ "` + module + `/quorum"`, ""},
	{"import of a neighbour", "node/store/x.go", `import _ "` + module + `/node/peer" // !`, "its own level 5"},
	{"import of a neighbour by gossip", "gossip/x.go", `import _ "` + module + `/hashring/ringraft" // !`, "its own level 5"},
	{"root imports a composition", "hashring/x.go", `import _ "` + module + `/node" // !`, "level 1 imports node of level 6"},
	{"a package of no row", "misc/x.go", ``, "in no row of the table"},
	{"import of no row", "node/x.go", `import _ "` + module + `/misc" // !`, "in no row of the table"},
	{"import of a test package", "node/x.go", `import _ "` + module + `/internal/tidy" // !`, "for tests only"},
	{"import of the disk library", "node/x.go", `import _ "` + module + `/internal/leveldisk" // !`, "belongs to node/store and hashring/ringraft"},
	{"import of the disk library by its owner", "node/store/x.go", `import _ "` + module + `/internal/leveldisk"`, ""},
	{"the disk library stays below", "internal/leveldisk/x.go", `import _ "` + module + `/node/store" // !`, "level 4 imports node/store of level 5"},
	{"packages of one tree", "cmd/quorate/internal/demo/x.go", `import _ "` + module + `/cmd/quorate/internal/bench"`, ""},
	{"a composition imports a command", "node/x.go", `import _ "` + module + `/cmd/quorate/internal/bench" // !`, "level 6 imports"},
	{"tests import what they need", "node/core/x_test.go", `import _ "` + module + `/node/wire"`, ""},

	// Purity.
	{"os", "quorum/x.go", `import _ "os" // !`, "imports os"},
	{"os/signal", "node/wire/x.go", `import _ "os/signal" // !`, "imports os/signal"},
	{"syscall", "hashring/x.go", `import _ "syscall" // !`, "imports syscall"},
	{"net", "node/wire/x.go", `import _ "net" // !`, "imports net"},
	{"net/http", "quorum/version/x.go", `import _ "net/http" // !`, "imports net/http"},
	{"sync", "node/core/x.go", `import _ "sync" // !`, "imports sync"},
	{"sync/atomic", "internal/assert/x.go", `import _ "sync/atomic" // !`, "imports sync/atomic"},
	{"math/rand", "hashring/x.go", `import _ "math/rand" // !`, "imports math/rand"},
	{"crypto/rand", "quorum/strong/x.go", `import _ "crypto/rand" // !`, "imports crypto/rand"},
	{"io/ioutil", "antientropy/x.go", `import _ "io/ioutil" // !`, "imports io/ioutil"},
	{"log", "node/core/x.go", `import _ "log" // !`, "imports log"},
	{"log/slog", "node/core/x.go", `import _ "log/slog" // !`, "imports log/slog"},
	{"context", "node/core/x.go", `import _ "context" // !`, "imports context"},
	{"dot import", "quorum/x.go", `import . "time" // !`, "dot import"},
	{"a longer name is not os", "quorum/x.go", `import _ "osx/file"`, ""},
	{"adapters touch the world", "node/store/x.go", "import _ \"os\"\nimport _ \"sync\"\nimport \"time\"\nvar x = time.Now()\nvar c chan int", ""},
	{"tests of pure packages too", "quorum/x_test.go", "import _ \"os\"\nimport \"time\"\nvar x = time.Now()", ""},
	{"a clock", "quorum/x.go", "import \"time\"\nvar x = time.Now() // !", "time.Now in a pure package"},
	{"a clock under another name", "quorum/x.go", "import clock \"time\"\nvar x = clock.After(5) // !", "time.After in a pure package"},
	{"a timer type", "node/core/x.go", "import \"time\"\nvar x *time.Timer // !", "time.Timer in a pure package"},
	{"durations", "node/core/x.go", "import \"time\"\nvar x time.Duration = 3 * time.Millisecond", ""},
	{"a variable called time", "node/core/x.go", "import \"time\"\nvar x time.Duration\nfunc f(time struct{ Now int }) int { return time.Now }", ""},
	{"a goroutine", "node/core/x.go", "func f() {\n\tgo f() // !\n}", "a go statement"},
	{"a channel", "quorum/x.go", "var x chan int // !", "a channel"},
	{"a select", "quorum/x.go", "func f() {\n\tselect {} // !\n}", "a select"},
	{"global chance", "hashring/x.go", "import \"math/rand/v2\"\nvar x = rand.IntN(5) // !", "rand.IntN uses the global random source"},
	{"global shuffle", "node/core/x.go", "import \"math/rand/v2\"\nfunc f() {\n\trand.Shuffle(1, nil) // !\n}", "rand.Shuffle"},
	{"seeded chance", "hashring/x.go", "import \"math/rand/v2\"\nfunc f(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }", ""},

	// Order of maps.
	{"range over a map", "node/core/x.go", "func f(m map[int]int) {\n\tfor range m { // !\n\t}\n}", "range over a map"},
	{"range over a map field", "node/core/x.go", "type s struct{ m map[int]int }\nfunc (s *s) f() {\n\tfor k := range s.m { // !\n\t\t_ = k\n\t}\n}", "range over a map"},
	{"range over a named map", "node/core/x.go", "type m map[int]int\nfunc f() m { return nil }\nfunc g() {\n\tfor range f() { // !\n\t}\n}", "range over a map"},
	{"range over an excused map", "node/core/x.go", "func f(m map[int]int) (n int) {\n\tfor _, v := range m { // order-free: a sum\n\t\tn += v\n\t}\n\treturn n\n}", ""},
	{"an excuse without a reason", "node/core/x.go", "func f(m map[int]int) {\n\tfor range m { /* ! */ // order-free:\n\t}\n}", "range over a map"},
	{"range over a slice", "node/core/x.go", "func f(m []int) {\n\tfor range m {\n\t}\n}", ""},
	{"range over a map elsewhere", "hashring/x.go", "func f(m map[int]int) {\n\tfor range m {\n\t}\n}", ""},
	{"keys in any order", "node/core/x.go", "import \"maps\"\nfunc f(m map[int]int) {\n\tfor range maps.Keys(m) { // !\n\t}\n}", "maps.Keys has no order"},
	{"keys in order", "node/core/x.go", "import \"maps\"\nimport \"slices\"\nfunc f(m map[int]int) {\n\tfor range slices.Sorted(maps.Keys(m)) {\n\t}\n}", ""},

	// Style.
	{"unfinished work", "node/x.go", "// TO" + "DO: more // !\nvar x int", "do it, or write a failing test"},
	{"unfinished work in a test", "node/x_test.go", "var x int // FIX" + "ME // !", "do it, or write a failing test"},
	{"a word that contains the mark", "node/x.go", "// TO" + "DOS is no mark\nvar x int", ""},
	{"a skipped test", "node/x_test.go", "import \"testing\"\nfunc TestX(t *testing.T) {\n\tt.Sk" + "ip(\"later\") // !\n}", "a skipped test"},
	{"a skipped test at once", "node/x_test.go", "import \"testing\"\nfunc TestX(t *testing.T) {\n\tt.Sk" + "ipNow() // !\n}", "a skipped test"},
	{"a sleeping test", "node/store/x_test.go", "import \"time\"\nfunc f() {\n\ttime.Sleep(5) // !\n}", "time.Sleep in a test"},
	{"a sleeping test in a bubble", "node/x_test.go", "import \"time\"\nimport _ \"testing/synctest\"\nfunc f() { time.Sleep(5) }", ""},
	{"a long file", "cmd/quorate/x.go", strings.Repeat("\n", linesMax), "602 lines, 600 is the most"},
	{"a long test", "cmd/quorate/x_test.go", strings.Repeat("\n", linesMax), ""},
	{"a panic", "node/peer/x.go", "func f() {\n\tpanic(1) // !\n}", "a panic"},
	{"an excused panic", "node/peer/x.go", "func f() {\n\tpanic(1) // unreachable: f is never called\n}", ""},
	{"a panic of the assertions", "internal/assert/x.go", "func f() { panic(1) }", ""},
	{"a panic above", "node/x.go", "func f() { panic(1) }", ""},
	{"a panic in a test", "node/peer/x_test.go", "func f() { panic(1) }", ""},
	{"a bare function", "hashring/x.go", "func F() {} // !", "F is exported without a sentence"},
	{"a bare method", "quorum/x.go", "// T is.\ntype T struct{}\n\nfunc (t *T) Do() {} // !", "Do is exported without a sentence"},
	{"a bare type", "node/core/x.go", "type T struct{} // !", "T is exported without a sentence"},
	{"a bare type in a group", "node/core/x.go", "// Types.\ntype (\n\tT struct{} // !\n\n\t// U is.\n\tU int\n)", "T is exported without a sentence"},
	{"a bare variable", "internal/assert/x.go", "var X int\n\nvar y int", "X is exported without a sentence"},
	{"a bare constant among others", "quorum/x.go", "const (\n\ta = 1\n\n\tB = 2\n)", "B is exported without a sentence"},
	{"values of a type", "quorum/x.go", "// K is.\ntype K int\n\nconst (\n\tA K = iota\n\tB\n)", ""},
	{"a sentence for the group", "quorum/x.go", "// Bounds.\nconst (\n\tA = 1\n\tB = 2\n)", ""},
	{"a sentence beside the name", "quorum/x.go", "const (\n\tA = 1 // is one\n)", ""},
	{"a well-known method", "quorum/x.go", "// T is.\ntype T struct{}\n\nfunc (T) String() string { return \"\" }", ""},
	{"a method of a hidden type", "quorum/x.go", "type t struct{}\n\nfunc (t) Do() {}", ""},
	{"a bare function above", "node/store/x.go", "func F() {}", ""},
}

// Every rule is seen to fail on a source that breaks it, at the line that does, and
// to be quiet on one that comes close.
func TestEachRuleFindsItsPlant(t *testing.T) {
	for _, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			text := p.source()
			f, err := parse(token.NewFileSet(), p.file, []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			found := findings([]*source{f})
			if p.says == "" {
				if len(found) > 0 {
					t.Errorf("a false alarm: %v", found)
				}
				return
			}
			if len(found) != 1 || !strings.Contains(found[0].text, p.says) {
				t.Fatalf("%v, want one that says %q", found, p.says)
			}
			for i, line := range strings.Split(text, "\n") {
				if marked := strings.Contains(line, "// !") || strings.Contains(line, "/* ! */"); marked && found[0].line != i+1 {
					t.Errorf("%v, the fault is in line %d", found[0], i+1)
				}
			}
		})
	}
}

// Every rule has a plant: a rule that is switched off leaves one of them unfound.
func TestNoRuleGoesWithoutAPlant(t *testing.T) {
	for off := range perFile {
		rest := append(perFile[:off:off], perFile[off+1:]...)
		missed := false
		for _, p := range plants {
			f, err := parse(token.NewFileSet(), p.file, []byte(p.source()))
			if err != nil {
				t.Fatal(err)
			}
			found := len(checkMaps([]*source{f}))
			for _, rule := range rest {
				found += len(rule.check(f))
			}
			missed = missed || p.says != "" && found == 0
		}
		if !missed {
			t.Errorf("nothing is planted for %s", perFile[off].name)
		}
	}
}

// A map that comes from another package of the module is a map all the same.
func TestMapsOfOtherPackages(t *testing.T) {
	fset := token.NewFileSet()
	var files []*source
	for name, text := range map[string]string{
		"hashring/s.go":  "package hashring\n\nimport \"os\"\n\n// S is.\ntype S struct { M map[string]int; F *os.File }\n",
		"node/core/c.go": "package core\n\nimport \"" + module + "/hashring\"\n\nfunc f(s *hashring.S) {\n\tfor range s.M {\n\t}\n}\n",
	} {
		f, err := parse(fset, name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	if found := checkMaps(files); len(found) != 1 || found[0].line != 6 {
		t.Errorf("%v, want the one in node/core/c.go:6", found)
	}
}

// The reader leaves out what is no part of the module, and nothing else.
func TestReadModule(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a.go", "x/b.go", "x/y/c_test.go", "x/testdata/d.go", ".hidden/e.go", "other/go.mod", "other/f.go", "x/g.txt", "vendor/h.go"} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("package p\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := readModule(root)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.name)
	}
	if got := strings.Join(names, " "); got != "a.go x/b.go x/y/c_test.go" {
		t.Errorf("read %s", got)
	}
}

// The table has no two rows for one folder, and its levels rise with what they import.
func TestTableIsSound(t *testing.T) {
	met := make(map[string]bool)
	for _, u := range table {
		if met[u.dir] {
			t.Errorf("two rows for %s", u.dir)
		}
		met[u.dir] = true
		for _, only := range u.only {
			if by, known := unitOf(only); !known || by.level <= u.level {
				t.Errorf("%s is kept for %s, which cannot import it", u.dir, only)
			}
		}
	}
}
