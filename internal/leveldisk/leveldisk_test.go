package leveldisk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/syndtr/goleveldb/leveldb"
	lverrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/quoratedb/quorate/internal/leveldisk/crashfs"
)

var (
	synced   = &opt.WriteOptions{Sync: true}
	unsynced = &opt.WriteOptions{}
)

func small() *opt.Options {
	return &opt.Options{WriteBuffer: 64 << 10, CompactionTableSize: 16 << 10, DisableBlockCache: true, DisableSeeksCompaction: true}
}

func open(t *testing.T, d *crashfs.Dir, format bool) (*leveldb.DB, *Storage) {
	t.Helper()
	db, st, err := OpenOn(d, Options{Format: format, DB: small()})
	if err != nil {
		t.Fatal(err)
	}
	return db, st
}

func key(i int) []byte { return fmt.Appendf(nil, "key-%05d", i) }

func value(i, size int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%05d.", i), size/6+1)[:size] }

// machine is a database of n synced records that then lost power; the newest are in
// its one journal, those that did not fit the buffer are in tables.
func machine(t *testing.T, n, size, buffer int) *crashfs.FS {
	t.Helper()
	for range 50 {
		fs := crashfs.New(1)
		o := small()
		o.WriteBuffer = buffer
		db, _, err := OpenOn(fs.Dir("db"), Options{Format: true, DB: o})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if err := db.Put(key(i), value(i, size), synced); err != nil {
				t.Fatal(err)
			}
		}
		settled := oneJournal(t, fs)
		fs.PowerCut()
		_ = db.Close() // without power it cannot end well
		if settled {
			return fs.Reboot()
		}
	}
	t.Fatal("an older journal is there in every run")
	return nil
}

// oneJournal waits until the older memtable is in a table. That may not happen
// before the next rotation: goleveldb's trigger can be missed.
func oneJournal(t *testing.T, fs *crashfs.FS) bool {
	t.Helper()
	for deadline := time.Now().Add(200 * time.Millisecond); time.Now().Before(deadline); runtime.Gosched() {
		fds, err := fs.Dir("db").List(storage.TypeJournal)
		if err != nil {
			t.Fatal(err)
		}
		if len(fds) == 1 {
			return true
		}
	}
	return false
}

// clone is another machine with the same durable bytes; fs itself can only be cloned again.
func clone(fs *crashfs.FS) *crashfs.FS { return fs.Reboot() }

func present(t *testing.T, db *leveldb.DB, n, size int) int {
	t.Helper()
	for i := range n {
		v, err := db.Get(key(i), nil)
		if errors.Is(err, leveldb.ErrNotFound) {
			return i
		}
		if err != nil || !bytes.Equal(v, value(i, size)) {
			t.Fatalf("record %d of %d: %d bytes, %v", i, n, len(v), err)
		}
	}
	return n
}

func newest(t *testing.T, d *crashfs.Dir, ft storage.FileType) string {
	t.Helper()
	fds, err := d.List(ft)
	if err != nil || len(fds) == 0 {
		t.Fatalf("no file of type %v: %v", ft, err)
	}
	best := fds[0]
	for _, fd := range fds {
		if fd.Num > best.Num {
			best = fd
		}
	}
	return best.String()
}

func wantDamaged(t *testing.T, err error, file string, from, to int64) {
	t.Helper()
	var d *ErrDamaged
	if !errors.As(err, &d) || d.File != file || d.Offset < from || d.Offset > to || d.Reason == "" {
		t.Fatalf("got %v, want damage in %s at %d..%d", err, file, from, to)
	}
}

// TestTornTail cuts the journal's last record at every byte: the records before it
// are all there.
func TestTornTail(t *testing.T) {
	const n, size = 6, 40
	fs := machine(t, n, size, 64<<10)
	name := newest(t, fs.Dir("db"), storage.TypeJournal)
	whole := fs.Dir("db").Written(name)
	record := whole / n
	for off := whole - record + 1; off <= whole; off++ {
		for _, ahead := range []int{0, 9, 70_000} {
			torn(t, clone(fs), name, off, ahead, whole, n)
		}
	}
}

// torn opens a journal of n records that ends at off, with zeros behind it.
func torn(t *testing.T, m *crashfs.FS, name string, off, ahead, whole, n int) {
	t.Helper()
	m.Dir("db").Truncate(name, off)
	m.Dir("db").Append(name, make([]byte, ahead))
	db, st := open(t, m.Dir("db"), false)
	want := n
	if off < whole {
		want--
	}
	if got := present(t, db, n, 40); got != want {
		t.Fatalf("cut at %d of %d, %d zeros: %d records, want %d", off, whole, ahead, got, want)
	}
	if rep := st.Report(); rep.Records != want || len(rep.Cuts) != n-want {
		t.Fatalf("cut at %d, %d zeros: %+v", off, ahead, rep)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCutIsDone: before goleveldb sees a torn journal it is cut, durably, and a
// second scan finds nothing.
func TestCutIsDone(t *testing.T) {
	fs := machine(t, 6, 40, 64<<10)
	name := newest(t, fs.Dir("db"), storage.TypeJournal)
	whole := fs.Dir("db").Written(name)
	fs.Dir("db").Truncate(name, whole-3)
	st := &Storage{base: fs.Dir("db")}
	if err := st.recover(); err != nil {
		t.Fatal(err)
	}
	cuts := st.Report().Cuts
	fs = fs.Reboot()
	if len(cuts) != 1 || cuts[0].File.String() != name || fs.Dir("db").Size(name) != int(cuts[0].To) || int(cuts[0].From) != whole-3 {
		t.Fatalf("%+v, and the file has %d bytes", cuts, fs.Dir("db").Size(name))
	}
	again, err := Scan(fs.Dir("db"))
	if err != nil || len(again.Cuts) != 0 || again.Records != 5 {
		t.Fatalf("%+v, %v", again, err)
	}
}

// TestTailOfZerosOrOldBytes is what file systems show when the length reached the
// disk before the bytes.
func TestTailOfZerosOrOldBytes(t *testing.T) {
	const n, size = 5, 500
	fs := machine(t, n, size, 64<<10)
	name := newest(t, fs.Dir("db"), storage.TypeJournal)
	old := make([]byte, fs.Dir("db").Size(name))
	r, err := fs.Dir("db").Open(storage.FileDesc{Type: storage.TypeJournal, Num: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(old, 0); err != nil {
		t.Fatal(err)
	}
	for what, tail := range map[string][]byte{"zeros": make([]byte, 70_000), "its own beginning": old, "in the middle": old[3:]} {
		m := clone(fs)
		m.Dir("db").Append(name, tail)
		db, st := open(t, m.Dir("db"), false)
		cuts := 1
		if what == "zeros" {
			cuts = 0 // a journal that was filled ahead ends like that
		}
		if got := present(t, db, n, size); got != n || len(st.Report().Cuts) != cuts {
			t.Fatalf("%s: %d records, %+v", what, got, st.Report())
		}
		_ = db.Close()
	}
}

// TestJournalFlips flips one bit of every byte: damage is refused with its place,
// and only the very last record may pass for a torn one.
func TestJournalFlips(t *testing.T) {
	const n = 30
	for _, size := range []int{24, 3000, 40_000} { // many to a block, across blocks, over several
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			count := min(n, 60_000/size+1)
			fs := machine(t, count, size, 1<<20)
			name := newest(t, fs.Dir("db"), storage.TypeJournal)
			whole := fs.Dir("db").Written(name)
			last := whole - whole/count - 2*headerSize
			step := max(1, whole/1500)
			for off := 0; off < whole; off += step {
				m := clone(fs)
				m.Dir("db").Flip(name, off, uint(off))
				db, _, err := OpenOn(m.Dir("db"), Options{DB: small()})
				if err == nil {
					got := present(t, db, count, size)
					_ = db.Close()
					if got < count-1 || got < count && off < last {
						t.Fatalf("bit %d of byte %d: opened with %d of %d records", off%8, off, got, count)
					}
					continue
				}
				wantDamaged(t, err, name, int64(max(0, off-size-64)), int64(off+blockSize))
			}
		})
	}
}

// TestManifestFlips: damage is refused, or changes nothing that is visible.
func TestManifestFlips(t *testing.T) {
	const n, size = 400, 1000
	fs := machine(t, n, size, 64<<10)
	name := newest(t, fs.Dir("db"), storage.TypeManifest)
	refused := 0
	for off := range fs.Dir("db").Size(name) {
		m := clone(fs)
		m.Dir("db").Flip(name, off, uint(off/3))
		db, _, err := OpenOn(m.Dir("db"), Options{DB: small()})
		if err != nil {
			var d *ErrDamaged
			if !errors.As(err, &d) {
				t.Fatalf("byte %d: %v", off, err)
			}
			refused++
			continue
		}
		if got := present(t, db, n, size); got != n {
			t.Fatalf("byte %d: opened with %d of %d records", off, got, n)
		}
		_ = db.Close()
	}
	if refused == 0 {
		t.Fatal("no flip was noticed")
	}
	// The middle, by name and place.
	m := clone(fs)
	m.Dir("db").Flip(name, 20, 1)
	_, _, err := OpenOn(m.Dir("db"), Options{DB: small()})
	wantDamaged(t, err, name, 0, 20)
}

// TestTableFlips: a damaged table is an error when it is read, never an absent key
// and never another value.
func TestTableFlips(t *testing.T) {
	const n, size = 400, 1000
	fs := machine(t, n, size, 64<<10)
	name := newest(t, fs.Dir("db"), storage.TypeTable)
	corrupt := 0
	for off := 0; off < fs.Dir("db").Size(name); off += 97 {
		m := clone(fs)
		m.Dir("db").Flip(name, off, uint(off))
		db, _, err := OpenOn(m.Dir("db"), Options{DB: small()})
		if err != nil {
			var d *ErrDamaged
			if !errors.As(err, &d) {
				t.Fatalf("byte %d: %v", off, err)
			}
			corrupt++
			continue
		}
		for i := range n {
			v, err := db.Get(key(i), nil)
			switch {
			case err == nil && bytes.Equal(v, value(i, size)):
			case lverrors.IsCorrupted(err):
				corrupt++
			default:
				t.Fatalf("byte %d: record %d: %d bytes, %v", off, i, len(v), err)
			}
		}
		_ = db.Close()
	}
	if corrupt == 0 {
		t.Fatal("no flip was noticed")
	}
}

// TestHalfDeleted: a directory that lost a file is refused, and says which.
func TestHalfDeleted(t *testing.T) {
	const n, size = 400, 1000
	fs := machine(t, n, size, 64<<10)
	d := fs.Dir("db")
	table := newest(t, d, storage.TypeTable)
	for _, c := range []struct{ lose, file string }{
		{table, table},
		{newest(t, d, storage.TypeJournal), newest(t, d, storage.TypeJournal)},
		{newest(t, d, storage.TypeManifest), "CURRENT"},
	} {
		m := clone(fs)
		m.Dir("db").Delete(c.lose)
		_, _, err := OpenOn(m.Dir("db"), Options{DB: small()})
		wantDamaged(t, err, c.file, 0, 0)
	}
	m := clone(fs)
	m.Dir("db").Truncate(table, 100)
	_, _, err := OpenOn(m.Dir("db"), Options{DB: small()})
	wantDamaged(t, err, table, 100, 100)
}

// TestOlderJournalIsWhole: with two live journals only the newer may be torn, and
// the numbers run through both without a gap.
func TestOlderJournalIsWhole(t *testing.T) {
	const n = 6
	fs := machine(t, n, 40, 64<<10)
	d := fs.Dir("db")
	older := newest(t, d, storage.TypeJournal)
	fd := storage.FileDesc{Type: storage.TypeJournal, Num: 1000}
	if _, err := d.Create(fd); err != nil {
		t.Fatal(err)
	}
	if err := d.SyncDir(); err != nil {
		t.Fatal(err)
	}
	size := d.Written(older)
	for _, c := range []struct {
		name    string
		torn    int    // bytes off the older journal
		first   uint64 // number in the newer one, 0: it is empty
		damaged string
	}{
		{"rotated and whole", 0, n + 1, ""},
		{"torn before the newer was written", 10, 0, ""},
		{"torn, and the newer was written", 10, n + 1, older},
		{"whole records missing at its end", size / n, n + 1, fd.String()},
		{"all records missing", size, n + 1, fd.String()},
	} {
		d := clone(fs).Dir("db")
		d.Truncate(older, size-c.torn)
		if c.first > 0 {
			d.Append(fd.String(), journalOf(t, c.first, 10))
		}
		_, err := Scan(d)
		if c.damaged == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		wantDamaged(t, err, c.damaged, 0, int64(size))
	}
}

// TestUnsyncedRotation: a writer that does not sync may lose its last writes, but a
// rotated journal is whole, so the store still opens.
func TestUnsyncedRotation(t *testing.T) {
	for seed := range uint64(40) {
		fs := crashfs.New(seed)
		db, _ := open(t, fs.Dir("db"), true)
		for i := range 40 + 7*int(seed) {
			if err := db.Put(key(i), value(i, 2000), unsynced); err != nil {
				t.Fatal(err)
			}
		}
		fs.PowerCut()
		_ = db.Close()
		fs = fs.Reboot()
		db, st, err := OpenOn(fs.Dir("db"), Options{DB: small()})
		var d *ErrDamaged
		if errors.As(err, &d) && d.File == newest(t, fs.Dir("db"), storage.TypeJournal) {
			continue // several unsynced records were torn at once: looks like damage, by design
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		_ = db.Close()
		if st.Report().Journals == 0 {
			t.Fatal("no journal was scanned")
		}
	}
}

// TestFailStop: after the first failed write, sync or creation nothing is written
// any more, OnFatal has run once, and what was acknowledged before is there.
func TestFailStop(t *testing.T) {
	for name, inject := range map[string]func(*crashfs.FS){
		"sync":      func(fs *crashfs.FS) { fs.Fail(crashfs.OpSync, 20) },
		"write":     func(fs *crashfs.FS) { fs.Fail(crashfs.OpWrite, 20) },
		"directory": func(fs *crashfs.FS) { fs.Fail(crashfs.OpSyncDir, 1) },
		"create":    func(fs *crashfs.FS) { fs.Fail(crashfs.OpCreate, 1) },
		"full":      func(fs *crashfs.FS) { fs.FullAfter(20_000) },
	} {
		t.Run(name, func(t *testing.T) {
			fs := crashfs.New(7)
			var fatal []error
			calls := make(chan error, 8)
			db, st, err := OpenOn(fs.Dir("db"), Options{Format: true, DB: small(), OnFatal: func(err error) { calls <- err }})
			if err != nil {
				t.Fatal(err)
			}
			inject(fs)
			acked := 0
			for ; db.Put(key(acked), value(acked, 1000), synced) == nil; acked++ {
				if acked > 1000 {
					t.Fatal("nothing failed")
				}
			}
			before := fs.Count(crashfs.OpSync)
			for i := range 20 {
				if err := db.Put(key(5000+i), value(i, 10), synced); err == nil {
					t.Fatal("a write succeeded after a failed one")
				}
			}
			if got := fs.Count(crashfs.OpSync); got != before {
				t.Fatalf("%d syncs after the failure", got-before)
			}
			_ = db.Close()
			close(calls)
			for err := range calls {
				fatal = append(fatal, err)
			}
			if len(fatal) != 1 || st.Err() == nil || !errors.Is(st.Err(), fatal[0]) {
				t.Fatalf("OnFatal: %v, Err: %v", fatal, st.Err())
			}
			if _, err := st.Create(storage.FileDesc{Type: storage.TypeTable, Num: 9999}); !errors.Is(err, ErrStopped) {
				t.Fatalf("create after the failure: %v", err)
			}
			fs = fs.Reboot()
			db, _ = open(t, fs.Dir("db"), false)
			defer func() { _ = db.Close() }()
			if got := present(t, db, acked, 1000); got != acked {
				t.Fatalf("%d of %d acknowledged records", got, acked)
			}
			if _, err := db.Get(key(5000), nil); !errors.Is(err, leveldb.ErrNotFound) {
				t.Fatalf("a refused write is there: %v", err)
			}
		})
	}
}

func TestFormat(t *testing.T) {
	fs := crashfs.New(1)
	d := fs.Dir("db")
	if _, _, err := OpenOn(d, Options{}); !errors.Is(err, ErrMissing) {
		t.Fatalf("an empty directory: %v", err)
	}
	db, _ := open(t, d, true)
	_ = db.Close()
	db, _ = open(t, d, true) // never written to: an interrupted format
	if err := db.Put([]byte("a"), []byte("b"), synced); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	if _, _, err := OpenOn(d, Options{Format: true}); !errors.Is(err, ErrExists) {
		t.Fatalf("format over data: %v", err)
	}
	// A format cut short anywhere can be done again.
	for n := 1; ; n++ {
		fs := crashfs.New(uint64(n))
		fs.CutAt(n)
		if db, _, err := OpenOn(fs.Dir("db"), Options{Format: true}); err == nil {
			_ = db.Close()
		}
		if !fs.Cut() {
			break
		}
		fs = fs.Reboot()
		db, _, err := OpenOn(clone(fs).Dir("db"), Options{})
		if err != nil && !errors.Is(err, ErrMissing) {
			t.Fatalf("format cut at %d: %v", n, err)
		}
		if err == nil {
			_ = db.Close()
		}
		fs = fs.Reboot()
		db, _ = open(t, fs.Dir("db"), true)
		_ = db.Close()
	}
}

func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if _, _, err := Open(dir, Options{}); !errors.Is(err, ErrMissing) {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a refused open made the directory: %v", err)
	}
	db, st, err := Open(dir, Options{Format: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := db.Put(key(i), value(i, 100), synced); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := Open(dir, Options{}); err == nil {
		t.Fatal("opened twice")
	}
	if s := st.Stats(); s.Syncs < 100 || s.DirSyncs < 3 || s.BytesWritten < 10_000 || s.SyncTime <= 0 {
		t.Fatalf("%+v", s)
	}
	if err := errors.Join(db.Close(), st.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"LOG", "LOG.old"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil && bytes.Contains(b, []byte("key-")) {
			t.Fatalf("%s names keys", name)
		}
	}
	journals, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(journals) != 1 {
		t.Fatal(journals, err)
	}
	b, err := os.ReadFile(journals[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if err := os.WriteFile(journals[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = Open(dir, Options{})
	wantDamaged(t, err, journals[0], int64(len(b)/2-300), int64(len(b)/2))
	if !strings.Contains(err.Error(), "later record follows") {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if err := os.WriteFile(journals[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	db, st, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := present(t, db, 100, 100); got != 100 {
		t.Fatalf("%d records", got)
	}
	if err := errors.Join(db.Close(), st.Close()); err != nil {
		t.Fatal(err)
	}
}
