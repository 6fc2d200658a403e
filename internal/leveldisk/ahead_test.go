package leveldisk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/quoratedb/quorate/internal/leveldisk/crashfs"
)

// TestAheadOnDisk: real journals are filled ahead while they are written, cut to
// their records when they end, and a copy taken in between opens whole.
func TestAheadOnDisk(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	db, st, err := Open(dir, Options{Format: true, DB: small()})
	if err != nil {
		t.Fatal(err)
	}
	const n, size = 20, 100
	for i := range n {
		if err := db.Put(key(i), value(i, size), synced); err != nil {
			t.Fatal(err)
		}
	}
	journals, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(journals) != 1 {
		t.Fatal(journals, err)
	}
	_, fills := any(journalFile{}).(aheadFile) // not on every system
	if length(t, journals[0]) >= aheadBytes != fills {
		t.Fatalf("the journal has %d bytes", length(t, journals[0]))
	}
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if length(t, journals[0]) > n*(size+100) {
		t.Fatalf("the journal of a closed database has %d bytes", length(t, journals[0]))
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	db, st, err = Open(copied, Options{DB: small()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = db.Close(), st.Close() }()
	if got := present(t, db, n, size); got != n || len(st.Report().Cuts) != 0 {
		t.Fatalf("%d of %d records, %+v", got, n, st.Report())
	}
}

func length(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestAheadGrowsSeldom: most syncs find the journal's length as it was.
func TestAheadGrowsSeldom(t *testing.T) {
	d := crashfs.New(1).Dir("db")
	db, st, err := OpenOn(d, Options{Format: true, DB: Defaults()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const n = 400
	grown, last := 0, -1
	for i := range n {
		if err := db.Put(key(i), value(i, 4000), synced); err != nil {
			t.Fatal(err)
		}
		name := newest(t, d, storage.TypeJournal)
		if now := d.Size(name); now != last {
			grown, last = grown+1, now
		}
	}
	if want := n*4000/aheadBytes + 2; grown > want || st.Stats().Syncs < n {
		t.Fatalf("the journal grew %d times in %d syncs, %d at most were needed", grown, st.Stats().Syncs, want)
	}
}
