package conf

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/quoratedb/quorate/node"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func TestDocumentationIsGenerated(t *testing.T) {
	file := filepath.Join("..", "..", "..", "..", "docs", "CONFIG.md")
	if *rewrite {
		if err := os.WriteFile(file, []byte(Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Markdown() {
		t.Fatal("docs/CONFIG.md is not what the configuration says; run: go test ./cmd/quorate/internal/conf -rewrite")
	}
}

func TestEveryFieldIsAKeyWithMeaning(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Keys() {
		if k.Doc == "" || seen[k.Name] || seen[k.Env] {
			t.Errorf("key %q: doc %q, or it stands twice", k.Name, k.Doc)
		}
		seen[k.Name], seen[k.Env] = true, true
	}
	if want := reflect.TypeFor[node.Config]().NumField(); len(Keys()) != want {
		t.Errorf("%d keys for %d fields", len(Keys()), want)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "q.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func flags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return fs
}

func TestDefaults(t *testing.T) {
	l, err := Load(Sources{Flags: flags(t)})
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	if c.API != "127.0.0.1:7400" || c.Gossip != "127.0.0.1:7401" || c.Peer != "127.0.0.1:7402" || c.Name != "n1" ||
		c.Data != "./quorate-data" || c.Partitions != 64 || c.Replicas != 3 || len(c.Join) != 0 {
		t.Fatalf("%+v", c)
	}
	for _, k := range Keys() {
		if l.Origin[k.Name] != "default" {
			t.Errorf("%s comes from %q", k.Name, l.Origin[k.Name])
		}
	}
}

// Each source beats the ones before it, for a value of every kind.
func TestPrecedence(t *testing.T) {
	file := write(t, "name: file\nreplicas: 2\nprofile: true\nshutdown-timeout: 1s\njoin: [a:1, b:2]\nzone: file\n")
	env := []string{"QUORATE_NAME=env", "QUORATE_REPLICAS=4", "QUORATE_PROFILE=false", "QUORATE_SHUTDOWN_TIMEOUT=2s", "QUORATE_JOIN=c:3,d:4", "OTHER=1"}
	fs := flags(t, "--name", "flag", "--replicas", "5", "--profile", "--shutdown-timeout", "3s", "--join", "e:5,f:6", "--join", "g:7")
	for _, c := range []struct {
		step   string
		s      Sources
		want   node.Config
		origin string
	}{
		{"file", Sources{File: file}, node.Config{Name: "file", Replicas: 2, Profile: true, ShutdownTimeout: time.Second, Join: []string{"a:1", "b:2"}}, file + ":1"},
		{"env", Sources{File: file, Env: env}, node.Config{Name: "env", Replicas: 4, ShutdownTimeout: 2 * time.Second, Join: []string{"c:3", "d:4"}}, "QUORATE_NAME"},
		{"flag", Sources{File: file, Env: env, Flags: fs}, node.Config{Name: "flag", Replicas: 5, Profile: true, ShutdownTimeout: 3 * time.Second, Join: []string{"e:5", "f:6", "g:7"}}, "--name"},
	} {
		l, err := Load(c.s)
		if err != nil {
			t.Fatalf("%s: %v", c.step, err)
		}
		g := l.Config
		got := node.Config{Name: g.Name, Replicas: g.Replicas, Profile: g.Profile, ShutdownTimeout: g.ShutdownTimeout, Join: g.Join}
		if !reflect.DeepEqual(got, c.want) || g.Zone != "file" || g.Partitions != 64 {
			t.Errorf("%s: got %+v", c.step, g)
		}
		if l.Origin["name"] != c.origin || l.Origin["zone"] != file+":6" || l.Origin["partitions"] != "default" {
			t.Errorf("%s: origins %v", c.step, l.Origin)
		}
	}
}

func TestFileErrorsNameFileAndLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "name: a\n\nnope: 1\n", ":3: nope: unknown key"},
		{"typo", "bootstrap_expect: 3\n", ":1: bootstrap_expect: unknown key; did you mean bootstrap-expect?"},
		{"string for integer", "name: a\nreplicas: three\n", ":2: replicas: want an integer, got three"},
		{"integer for string", "name: 12\n", ":1: name: want a string"},
		{"fraction", "replicas: 2.5\n", ":1: replicas: want an integer"},
		{"beyond 64 bits", "replicas: 99999999999999999999\n", ":1: replicas: want an integer"},
		{"string for bool", "profile: maybe\n", ":1: profile: want true or false"},
		{"number for duration", "# c\nshutdown-timeout: 10\n", ":2: shutdown-timeout: want a duration"},
		{"numbers in a list", "join: [1, 2]\n", ":1: join: want a list of strings"},
		{"mapping", "data:\n  dir: x\n", ":1: data: want a string"},
		{"null", "name:\n", ":1: name: want a string"},
		{"twice", "name: a\nname: b\n", "name"},
		{"not a mapping", "- a\n- b\n", ":1: want `key: value` lines"},
		{"broken", "name: a\n  b: [\n", "line 2"},
		{"out of range", "name: a\nreplicas: 0\n", ":2: replicas: 0 is outside 1 to 9"},
		{"level", "log-level: loud\n", `:1: log-level: "loud" is none of`},
		{"address", "api: 7400\napi2: 3\n", ":1: api: want a string"},
		{"address text", "api: \"7400\"\n", `:1: api: "7400": want host:port`},
		{"same address", "api: 127.0.0.1:7401\n", "127.0.0.1:7401 is the address of api already"},
	} {
		file := write(t, c.text)
		_, err := Load(Sources{File: file})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
			continue
		}
		if c.name != "same address" && !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v does not name the file", c.name, err)
		}
	}
}

func TestOtherSourcesNameThemselves(t *testing.T) {
	for _, c := range []struct {
		env, args []string
		want      string
	}{
		{[]string{"QUORATE_REPLICAS=x"}, nil, `QUORATE_REPLICAS: "x" is no integer`},
		{[]string{"QUORATE_REPLICAS="}, nil, "QUORATE_REPLICAS: empty"},
		{[]string{"QUORATE_LOG_LEVEL=loud"}, nil, "QUORATE_LOG_LEVEL: "},
		{nil, []string{"--join", "nohost"}, "--join: "},
		{nil, []string{"--name", "a b"}, "--name: "},
	} {
		_, err := Load(Sources{Env: c.env, Flags: flags(t, c.args...)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %v: got %v, want %q", c.env, c.args, err, c.want)
		}
	}
	if _, err := Load(Sources{File: filepath.Join(t.TempDir(), "none.yaml")}); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("missing file: %v", err)
	}
}

func TestUnknownVariablesAreNamed(t *testing.T) {
	l, err := Load(Sources{Env: []string{"QUORATE_NAEM=x", "QUORATE_ADDRS=a:1", "QUORATE_NAME=a", "PATH=/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(l.Strangers, []string{"QUORATE_NAEM"}) {
		t.Fatalf("got %v", l.Strangers)
	}
}

func TestEmptyFileAndExampleLoad(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", Example()} {
		if _, err := Load(Sources{File: write(t, text)}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	if l, err := Load(Sources{File: write(t, Example())}); err != nil || l.Config.BootstrapExpect != 3 || len(l.Config.Join) != 2 {
		t.Errorf("%v %+v", err, l)
	}
}

func TestChanged(t *testing.T) {
	a := node.Config{Name: "a", Join: []string{"x:1"}}
	b := a
	b.LogLevel, b.Join = "debug", []string{"y:1"}
	if got := Changed(&a, &b); !reflect.DeepEqual(got, []string{"join", "log-level"}) {
		t.Fatalf("got %v", got)
	}
}

func FuzzFile(f *testing.F) {
	for _, s := range []string{"name: a\n", "join: [a:1]\n", "a: &x [*x]\n", "? {a: b}\n: c\n", "name: !!binary x\n", "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, _ = checkFile("f", text, Keys())
	})
}
