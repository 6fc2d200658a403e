package ringraft

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/quoratedb/quorate/internal/leveldisk"
	"github.com/syndtr/goleveldb/leveldb"
)

func raftAddr(a string) raft.ServerAddress { return raft.ServerAddress(a) }

func testDisk(t *testing.T) *disk {
	t.Helper()
	db, st, err := leveldisk.Open(filepath.Join(t.TempDir(), "db"), leveldisk.Options{Format: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(db.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	d, err := openDisk(db, time.Minute, func(err error) { t.Error("fatal:", err) })
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func entries(from, to uint64) (out []*raft.Log) {
	for i := from; i <= to; i++ {
		out = append(out, &raft.Log{Index: i, Term: i / 3, Type: raft.LogCommand, Data: []byte{byte(i), 2}, Extensions: []byte("e"), AppendedAt: time.Unix(5, int64(i))})
	}
	return out
}

func (d *disk) check(t *testing.T, first, last uint64) {
	t.Helper()
	again, err := openDisk(d.db, d.bound, d.fatal)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []*disk{d, again} { // what is remembered, and what is on disk
		f, _ := d.FirstIndex()
		l, _ := d.LastIndex()
		if f != first || l != last {
			t.Fatalf("log is %d..%d, want %d..%d", f, l, first, last)
		}
	}
	for i := first; i <= last && i > 0; i++ {
		var l raft.Log
		want := entries(i, i)[0]
		if err := d.GetLog(i, &l); err != nil || l.Index != i || l.Term != want.Term || !bytes.Equal(l.Data, want.Data) ||
			!bytes.Equal(l.Extensions, want.Extensions) || !l.AppendedAt.Equal(want.AppendedAt) {
			t.Fatalf("entry %d: %+v %v", i, l, err)
		}
	}
	var l raft.Log
	if err := d.GetLog(last+1, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Fatalf("after the end: %v", err)
	}
}

func TestLogStore(t *testing.T) {
	d := testDisk(t)
	d.check(t, 0, 0)
	if err := d.StoreLogs(entries(5, 20)); err != nil {
		t.Fatal(err)
	}
	d.check(t, 5, 20)
	for _, c := range []struct{ from, to, first, last uint64 }{
		{1, 7, 8, 20}, {18, 30, 8, 17}, {3, 4, 8, 17}, {8, 17, 0, 0}, {1, 100, 0, 0},
	} {
		if err := d.DeleteRange(c.from, c.to); err != nil {
			t.Fatal(err)
		}
		d.check(t, c.first, c.last)
	}
	if err := d.StoreLog(entries(21, 21)[0]); err != nil {
		t.Fatal(err)
	}
	d.check(t, 21, 21)
}

func TestStableStore(t *testing.T) {
	d := testDisk(t)
	if _, err := d.Get([]byte("k")); err == nil || err.Error() != "not found" {
		t.Fatal("raft compares this text:", err)
	}
	if n, err := d.GetUint64([]byte("k")); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if err := d.SetUint64([]byte("k"), 77); err != nil {
		t.Fatal(err)
	}
	if n, err := d.GetUint64([]byte("k")); n != 77 || err != nil {
		t.Fatal(n, err)
	}
	if err := d.Set([]byte("k"), []byte("abc")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.GetUint64([]byte("k")); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}

// A heartbeat that is still in hand when all is closed neither fails nor is fatal; a
// store that is closed too early is.
func TestWriteAfterTheEnd(t *testing.T) {
	for _, over := range []bool{false, true} {
		db, st, err := leveldisk.Open(filepath.Join(t.TempDir(), "db"), leveldisk.Options{Format: true})
		if err != nil {
			t.Fatal(err)
		}
		fatal := 0
		d, err := openDisk(db, time.Minute, func(error) { fatal++ })
		if err != nil {
			t.Fatal(err)
		}
		d.over.Store(over)
		if err := errors.Join(db.Close(), st.Close()); err != nil {
			t.Fatal(err)
		}
		if err := d.SetUint64([]byte("CurrentTerm"), 7); (err == nil) != over || (fatal == 0) != over {
			t.Errorf("over=%v: %v, fatal %d times", over, err, fatal)
		}
	}
}

func TestLogDamageIsFoundAtOpen(t *testing.T) {
	for name, harm := range map[string]func(*leveldb.Batch){
		"a hole":         func(b *leveldb.Batch) { b.Delete(logKey(6)) },
		"a flipped bit":  func(b *leveldb.Batch) { v := appendEntry(nil, entries(6, 6)[0]); v[20] ^= 1; b.Put(logKey(6), v) },
		"another's bits": func(b *leveldb.Batch) { b.Put(logKey(6), appendEntry(nil, entries(7, 7)[0])) },
		"a strange key":  func(b *leveldb.Batch) { b.Put([]byte{keyLog, 1}, nil) },
	} {
		d := testDisk(t)
		if err := d.StoreLogs(entries(5, 8)); err != nil {
			t.Fatal(err)
		}
		var b leveldb.Batch
		harm(&b)
		if err := d.db.Write(&b, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := openDisk(d.db, d.bound, d.fatal); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSnapshotStore(t *testing.T) {
	d := testDisk(t)
	s := snapshots{d}
	conf := raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "b"}}}
	for i := uint64(1); i <= 4; i++ {
		sink, err := s.Create(1, i*10, i, conf, i, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sink.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cancelled, err := s.Create(1, 99, 9, conf, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cancelled.Cancel(), cancelled.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := cancelled.Write(make([]byte, snapshotMax+1)); err == nil {
		t.Fatal("a snapshot without bound")
	}
	metas, err := s.List()
	if err != nil || len(metas) != 2 || metas[0].Index != 40 || metas[1].Index != 30 || metas[0].Configuration.Servers[0].ID != "a" {
		t.Fatalf("%+v %v", metas, err)
	}
	meta, r, err := s.Open(metas[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, []byte{4}) || meta.Size != 1 || meta.Term != 4 {
		t.Fatal(b, err)
	}
	// A damaged newest one gives way to the one before.
	if err := d.db.Put(snapshotKey(40, 4), []byte("garbage garbage"), nil); err != nil {
		t.Fatal(err)
	}
	if metas, err = s.List(); err != nil || len(metas) != 1 || metas[0].Index != 30 {
		t.Fatalf("%+v %v", metas, err)
	}
	if _, _, err := s.Open("nonsense"); err == nil {
		t.Fatal("opened nonsense")
	}
}

func TestHangingWriteIsFatal(t *testing.T) {
	fatal := make(chan error, 2)
	d := testDisk(t)
	d.fatal, d.bound = func(err error) { fatal <- err }, time.Nanosecond
	if err := d.SetUint64([]byte("k"), 1); err != nil {
		t.Fatal(err)
	}
	if err := <-fatal; !strings.Contains(err.Error(), "has not returned") {
		t.Fatal(err)
	}
}

func TestFailedWriteIsFatal(t *testing.T) {
	g := newGroup(t, 1, nil)
	g.bootstrap()
	n := g.nodes[0]
	if err := n.disk.db.Close(); err != nil { // stands for a disk that fails
		t.Fatal(err)
	}
	if _, err := n.Propose(timeout(t), bucket("x")); !errors.Is(err, ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	if err := <-n.fatal; !errors.Is(err, leveldb.ErrClosed) {
		t.Fatal(err)
	}
	n.closeDB = func() error { return nil }
}

func TestMissingDirectoryIsRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "gone")} {
		_, err = Open(Config{SID: testSID(1), Dir: dir, MustExist: true, Layer: tcpLayer{ln}, Log: slog.New(slog.DiscardHandler)})
		if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), dir) {
			t.Fatalf("got %v", err)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(uint64(3), appendEntry(nil, entries(3, 3)[0]))
	f.Add(uint64(0), []byte{})
	f.Fuzz(func(t *testing.T, i uint64, b []byte) {
		var l raft.Log
		if decodeEntry(i, b, &l) == nil && !bytes.Equal(appendEntry(nil, &l), b) {
			t.Fatalf("accepted %x, writes %x", b, appendEntry(nil, &l))
		}
	})
}

func FuzzDecodeSnapshot(f *testing.F) {
	good, err := encodeSnapshot(&snapshotHeader{ID: "1-1", Index: 1, Term: 1, Configuration: raft.EncodeConfiguration(raft.Configuration{})}, []byte("x"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, _, err := decodeSnapshot(b)
		if err == nil {
			_, err = decodeConfiguration(h.Configuration)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}
