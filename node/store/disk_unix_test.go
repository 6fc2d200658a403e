//go:build linux || darwin

package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A node that is killed in a write of its identity file leaves nothing outside its directory.
func TestReplaceFileWritesBesideIt(t *testing.T) {
	outside, path := t.TempDir(), filepath.Join(t.TempDir(), "file")
	t.Setenv("TMPDIR", outside)
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(outside, long, long); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(path, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "x" {
		t.Fatalf("%q, %v", b, err)
	}
	if now, err := os.Stat(outside); err != nil || !now.ModTime().Equal(long) {
		t.Errorf("something was made in the directory of temporary files at %v, %v", now.ModTime(), err)
	}
}
