package leveldisk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/syndtr/goleveldb/leveldb/journal"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

// journalOf writes records of the given sizes with goleveldb's own writer, numbered
// from first, one entry each.
func journalOf(t testing.TB, first uint64, sizes ...int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := journal.NewWriter(&out)
	for i, n := range sizes {
		r, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		b := binary.LittleEndian.AppendUint64(nil, first+uint64(i))
		b = binary.LittleEndian.AppendUint32(b, 1)
		b = append(b, bytes.Repeat([]byte{byte(i + 1)}, n)...)
		if _, err := r.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// FuzzJournal holds the scan against goleveldb's own reader: up to the place where
// the scan stops both see the same records, and a reader that sees more behind that
// place means damage, not a torn tail.
func FuzzJournal(f *testing.F) {
	f.Add(journalOf(f, 1, 10, 20, 30))
	f.Add(journalOf(f, 1, blockSize-30, 50, 3*blockSize, 1))
	whole := journalOf(f, 1, 100, 100, 100)
	for _, off := range []int{0, 5, 120, 200, 300} {
		b := bytes.Clone(whole)
		b[off] ^= 1
		f.Add(b)
		f.Add(b[:off])
	}
	f.Add(append(bytes.Clone(whole), make([]byte, 2*blockSize)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var seen [][]byte
		tl, err := newLogFile(bytes.NewReader(b), int64(len(b))).records(len(b), func(r record) error {
			if r.size != len(r.head) {
				t.Fatalf("record of %d bytes with %d", r.size, len(r.head))
			}
			seen = append(seen, bytes.Clone(r.head))
			return nil
		})
		if err != nil || tl.end > tl.bad || tl.bad > int64(len(b)) {
			t.Fatal(tl, err)
		}
		r := journal.NewReader(bytes.NewReader(b[:tl.end]), nil, true, true)
		for i := 0; ; i++ {
			jr, err := r.Next()
			if errors.Is(err, io.EOF) {
				if i != len(seen) {
					t.Fatalf("goleveldb reads %d records, the scan %d", i, len(seen))
				}
				break
			}
			if err != nil {
				t.Fatalf("goleveldb refuses what the scan took: %v", err)
			}
			got, err := io.ReadAll(jr)
			if err != nil || i >= len(seen) || !bytes.Equal(got, seen[i]) {
				t.Fatalf("record %d: %v", i, err)
			}
		}
		next := seqRange{0, 1}
		var n int
		cut, err := scanJournal(newLogFile(bytes.NewReader(b), int64(len(b))), storage.FileDesc{Type: storage.TypeJournal, Num: 1}, &next, &n)
		var d *ErrDamaged
		if err != nil && !errors.As(err, &d) || err != nil && cut != nil || cut != nil && (cut.To > cut.From || cut.From != int64(len(b))) {
			t.Fatal(cut, err)
		}
	})
}

// FuzzTorn tears a sound journal at any place and puts anything behind: never
// damage, unless what is behind is a later record.
func FuzzTorn(f *testing.F) {
	f.Add(uint16(10), uint16(2000), uint32(1500), []byte{})
	f.Add(uint16(40000), uint16(7), uint32(40010), make([]byte, 100))
	f.Fuzz(func(t *testing.T, a, b uint16, at uint32, tail []byte) {
		whole := journalOf(t, 1, int(a), int(b), int(a))
		torn := append(bytes.Clone(whole[:int(at)%(len(whole)+1)]), tail...)
		next := seqRange{0, 1}
		var n int
		_, err := scanJournal(newLogFile(bytes.NewReader(torn), int64(len(torn))), storage.FileDesc{Type: storage.TypeJournal, Num: 1}, &next, &n)
		if err != nil && len(tail) < headerSize+batchHeader {
			t.Fatalf("cut at %d of %d with %d bytes behind: %v", at, len(whole), len(tail), err)
		}
	})
}

// FuzzManifest: any bytes decode to a state or an error.
func FuzzManifest(f *testing.F) {
	f.Add([]byte{tagComparer, 1, 'x', tagJournalNum, 3, tagNextFileNum, 4, tagSeqNum, 9, tagAddTable, 0, 7, 100, 1, 'a', 1, 'b'})
	f.Add([]byte{tagDelTable, 0, 7, tagCompPtr, 1, 2, 'a', 'b', tagPrevJournal, 0})
	f.Add([]byte{tagAddTable, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &manifest{tables: map[int64]int64{}}
		if err := m.apply(b); err == nil && (m.journal < 0 || len(m.tables) > len(b)) {
			t.Fatalf("%+v", m)
		}
	})
}

// TestShortFirstChunk: a record may begin with the last 7 bytes of a block, so that
// its number stands in the next one.
func TestShortFirstChunk(t *testing.T) {
	for room := headerSize; room < headerSize+batchHeader+3; room++ {
		b := journalOf(t, 1, 50, blockSize-50-3*batchHeader-2*headerSize-room+batchHeader, 100, 100)
		b[20] ^= 1 // in the first record
		next := seqRange{0, 1}
		var n int
		_, err := scanJournal(newLogFile(bytes.NewReader(b), int64(len(b))), storage.FileDesc{Type: storage.TypeJournal, Num: 1}, &next, &n)
		wantDamaged(t, err, "000001.log", 0, 0)
		// Only the record across the blocks follows the bad one.
		l := newLogFile(bytes.NewReader(b), int64(len(b)))
		at, found, err := l.recordAfter(1, batchHeader, func(h []byte) bool { return binary.LittleEndian.Uint64(h) == 3 })
		if err != nil || !found || at < blockSize-headerSize-batchHeader-4 || at > blockSize {
			t.Fatalf("room %d: record 3 found %v at %d, %v", room, found, at, err)
		}
	}
}
