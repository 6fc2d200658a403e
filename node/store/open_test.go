//go:build linux || darwin

package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

func openAt(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shut(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// filled is a data directory with records in its journal, closed.
func filled(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "deep", "data")
	s := openAt(t, dir)
	for i := range 50 {
		commitAll(t, s, 0, &core.Batch{Records: []core.RecordWrite{record(1, 1, string(rune('a'+i)), object(uint64(i+1), "value"))}})
	}
	shut(t, s)
	return dir
}

func TestOpenCounts(t *testing.T) {
	dir := filled(t)
	s := openAt(t, dir)
	id := s.Identity()
	if id.SID.IsZero() || id.Boot != 2 || id.Format != Format || !id.Cluster.IsZero() || id.Promise != nil {
		t.Fatalf("%+v", id)
	}
	p := Promise{Set: hashring.SID{3}, Initiator: id.SID, Members: []hashring.SID{id.SID, {4}}}
	if err := errors.Join(s.SetPromise(p), s.SetCluster(hashring.SID{7}), s.SetCluster(hashring.SID{7})); err != nil {
		t.Fatal(err)
	}
	if err := s.SetCluster(hashring.SID{8}); !errors.Is(err, ErrMismatch) {
		t.Fatal(err)
	}
	if err := s.SetPromise(Promise{Members: make([]hashring.SID, maxPromised+1)}); err == nil {
		t.Fatal("an unbounded promise")
	}
	if free, err := s.FreeBytes(); err != nil || free == 0 {
		t.Fatal(free, err)
	}
	if s.Recovered().Records < 50 {
		t.Fatalf("%+v", s.Recovered())
	}
	shut(t, s)
	s = openAt(t, dir)
	got := s.Identity()
	if got.SID != id.SID || got.Boot != 3 || got.Cluster != (hashring.SID{7}) || got.Promise == nil || got.Promise.Set != p.Set || len(got.Promise.Members) != 2 {
		t.Fatalf("%+v", got)
	}
	shut(t, s)
	if a, b := openAt(t, t.TempDir()), openAt(t, t.TempDir()); a.Identity().SID == b.Identity().SID {
		t.Fatal("two stores with one sid")
	} else {
		shut(t, a)
		shut(t, b)
	}
}

// TestRefused: every directory that must not be opened is refused with its error,
// and nothing in it is changed.
func TestRefused(t *testing.T) {
	journal := func(dir string) string {
		m, err := filepath.Glob(filepath.Join(dir, databaseName, "*.log"))
		if err != nil || len(m) != 1 {
			t.Fatal(m, err)
		}
		return m[0]
	}
	edit := func(path string, change func([]byte) []byte) {
		b, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, change(b), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	remove := func(path string) {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	var damaged *DamagedError
	for _, c := range []struct {
		name string
		harm func(dir string)
		want any // error to be, or pointer to a type
		text string
	}{
		{"no database", func(d string) { remove(filepath.Join(d, databaseName)) }, ErrNoDatabase, "bring back what is missing"},
		{"empty database", func(d string) {
			remove(filepath.Join(d, databaseName))
			if err := os.Mkdir(filepath.Join(d, databaseName), 0o750); err != nil {
				t.Fatal(err)
			}
		}, ErrNoDatabase, "move the directory away"},
		{"no identity", func(d string) { remove(filepath.Join(d, identityName)) }, ErrNoIdentity, "bring back what is missing"},
		{"newer format", func(d string) {
			edit(filepath.Join(d, identityName), func([]byte) []byte { return []byte("quorate store, format 3\nanything at all\n") })
		}, ErrNewerFormat, "this data directory was written by a newer quorate"},
		{"broken identity", func(d string) {
			edit(filepath.Join(d, identityName), func(b []byte) []byte { b[30] ^= 1; return b })
		}, &damaged, "identity at offset 24"},
		{"empty identity", func(d string) { edit(filepath.Join(d, identityName), func([]byte) []byte { return nil }) }, &damaged, "identity at offset 0"},
		{"flipped journal", func(d string) { edit(journal(d), func(b []byte) []byte { b[len(b)/2] ^= 1; return b }) }, &damaged, "move the directory away"},
		{"no journal", func(d string) { remove(journal(d)) }, &damaged, ".log at offset 0: the journal is missing"},
		{"no CURRENT", func(d string) {
			remove(filepath.Join(d, databaseName, "CURRENT"))
			remove(filepath.Join(d, databaseName, "CURRENT.bak"))
		}, &damaged, "CURRENT"},
		{"another's database", func(d string) {
			remove(filepath.Join(d, databaseName))
			if err := os.Rename(filepath.Join(filled(t), databaseName), filepath.Join(d, databaseName)); err != nil {
				t.Fatal(err)
			}
		}, ErrMismatch, "put back what belongs together"},
		{"rolled back identity", func(d string) {
			path := filepath.Join(d, identityName)
			old, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			shut(t, openAt(t, d))
			edit(path, func([]byte) []byte { return old })
		}, ErrMismatch, "has seen start 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filled(t)
			c.harm(dir)
			before := listing(t, dir)
			for range 2 { // a refused open leaves no lock behind
				_, err := Open(dir, Options{})
				is := false
				if e, ok := c.want.(error); ok {
					is = errors.Is(err, e)
				} else {
					is = errors.As(err, c.want)
				}
				if !is || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), dir) {
					t.Fatalf("%v", err)
				}
			}
			// Another's database is recovered before its owner row can be read.
			if after := listing(t, dir); before != after && c.want != ErrMismatch {
				t.Fatalf("a refused open changed the directory from\n%s\nto\n%s", before, after)
			}
		})
	}
}

// listing is the directory's files with their sizes, without locks.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && !strings.Contains(strings.ToLower(info.Name()), "lo") {
			b.WriteString(path[len(dir):] + " " + info.ModTime().String() + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestOlderFormat: a directory of before becomes one of now at its first start, so that the
// program that wrote it refuses it from then on.
func TestOlderFormat(t *testing.T) {
	dir := filled(t)
	path := filepath.Join(dir, identityName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("%s%d\n", identityHead, Format-1)
	_, body, _ := strings.Cut(string(b), "\n")
	body, _, _ = strings.Cut(body, "\n")
	older := head + body + "\n"
	older = fmt.Sprintf("%s%s%08x\n", older, identityTail, crc32.Checksum([]byte(older), castagnoli))
	if err := os.WriteFile(path, []byte(older), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, dir)
	if id := s.Identity(); id.Format != Format || id.Boot != 2 {
		t.Errorf("%+v", id)
	}
	shut(t, s)
	if b, err = os.ReadFile(path); err != nil || !strings.HasPrefix(string(b), fmt.Sprintf("%s%d\n", identityHead, Format)) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestOpenedTwice(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir)
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Fatal(err)
	}
	shut(t, s)
	shut(t, openAt(t, dir))
}

func TestForeignDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letters.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "letters.txt") {
		t.Fatal(err)
	}
	dir = t.TempDir() // the root of a mounted file system
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	shut(t, openAt(t, dir))
}

func TestUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrUnwritable) || !strings.Contains(err.Error(), "choose another data directory") {
			t.Fatal(err)
		}
	}
}

// TestTooFewFiles lowers the limit of this process for a moment; it must not run in parallel.
func TestTooFewFiles(t *testing.T) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	low := l
	low.Cur = 300
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.TempDir(), Options{})
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, ErrTooFewFiles) || !strings.Contains(err.Error(), "ulimit -n 512") {
		t.Fatal(err)
	}
}

// TestInterruptedFormat: a format that a crash cut short anywhere is begun again.
func TestInterruptedFormat(t *testing.T) {
	dir := t.TempDir()
	b, err := EncodeIdentity(Identity{SID: hashring.SID{1}, formatting: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, identityName), b, 0o600),
		os.Mkdir(filepath.Join(dir, databaseName), 0o700),
		os.WriteFile(filepath.Join(dir, databaseName, "MANIFEST-000000"), []byte("half"), 0o600),
		os.WriteFile(filepath.Join(dir, ".identity123"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, dir)
	if id := s.Identity(); id.SID != (hashring.SID{1}) || id.Boot != 1 {
		t.Fatalf("%+v", id)
	}
	shut(t, s)
	shut(t, openAt(t, dir))
}
