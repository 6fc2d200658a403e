package leveldisk

import (
	"bytes"
	"errors"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"
	lverrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quoratedb/quorate/internal/leveldisk/crashfs"
)

// TestEveryBitOfAJournal flips each bit of a small journal that was filled ahead, as a
// node leaves it that is killed. In a record with a successor it is damage. In the last
// record it passes for the torn write of a crash: nothing tells them apart, and nothing
// but that record goes. In the zeros behind it nothing was ever written, and nothing goes.
func TestEveryBitOfAJournal(t *testing.T) {
	const n, size = 24, 40
	fs := machine(t, n, size, 64<<10)
	d := fs.Dir("db")
	name := newest(t, d, storage.TypeJournal)
	whole := d.Written(name)
	last := whole - (headerSize + batchHeader + 1 + 1 + len(key(0)) + 1 + size) // kind, and two lengths of a byte
	if d.Size(name) < whole+blockSize {
		t.Fatalf("%d bytes, and %d with the zeros: nothing was filled ahead", whole, d.Size(name))
	}
	for off := range whole + 2*headerSize {
		for bit := range uint(8) {
			d.Flip(name, off, bit)
			rep, err := Scan(d)
			d.Flip(name, off, bit)
			if off < last {
				wantDamaged(t, err, name, int64(max(0, off-whole/n)), int64(off))
				continue
			}
			records, end := n, whole
			if off < whole {
				records, end = n-1, last
			}
			if err != nil || rep.Records != records || len(rep.Cuts) != 1 || rep.Cuts[0].File.String() != name || int(rep.Cuts[0].To) != end {
				t.Fatalf("bit %d of byte %d of %d: %+v, %v; want %d records up to %d", bit, off, whole, rep, err, records, end)
			}
		}
	}
	if rep, err := Scan(d); err != nil || rep.Records != n || len(rep.Cuts) != 0 {
		t.Fatalf("unharmed: %+v, %v", rep, err)
	}
}

// TestEveryByteOfATable flips a bit in each byte of a small table, its index, its filter
// and its footer with it: whoever reads is told of damage or gets what was written,
// whether he asks for a key or walks over all of them.
func TestEveryByteOfATable(t *testing.T) {
	const n, size = 160, 40 // more than one block
	fs := crashfs.New(1)
	db, _ := open(t, fs.Dir("db"), true)
	for i := range n {
		if err := db.Put(key(i), value(i, size), synced); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(db.CompactRange(util.Range{}), db.Close()); err != nil {
		t.Fatal(err)
	}
	fs.PowerCut()
	fs = fs.Reboot()
	name := newest(t, fs.Dir("db"), storage.TypeTable)
	silent, length := 0, fs.Dir("db").Size(name)
	for off := range length {
		m := clone(fs)
		m.Dir("db").Flip(name, off, uint(off/3)%8)
		db, _, err := OpenOn(m.Dir("db"), Options{DB: small()})
		if err != nil {
			wantDamaged(t, err, name, 0, int64(length))
			continue
		}
		if !tells(t, db, off, n, size) {
			silent++
		}
		_ = db.Close()
	}
	if silent > length/4 { // the filter, which is not used then, and the padding of the footer
		t.Errorf("%d of %d bytes matter to nobody", silent, length)
	}
}

// tells reads a database of n records in which byte off of the table is damaged.
func tells(t *testing.T, db *leveldb.DB, off, n, size int) (told bool) {
	t.Helper()
	for i := off % 7; i < n; i += 7 { // the walk sees all of them
		v, err := db.Get(key(i), nil)
		told = told || lverrors.IsCorrupted(err)
		if !lverrors.IsCorrupted(err) && (err != nil || !bytes.Equal(v, value(i, size))) {
			t.Fatalf("byte %d: record %d: %q, %v", off, i, v, err)
		}
	}
	it := db.NewIterator(nil, nil)
	defer it.Release()
	i := 0
	for ; it.Next(); i++ {
		if !bytes.Equal(it.Key(), key(i)) || !bytes.Equal(it.Value(), value(i, size)) {
			t.Fatalf("byte %d: the walk shows %q at %d", off, it.Key(), i)
		}
	}
	if err := it.Error(); lverrors.IsCorrupted(err) {
		return true
	} else if err != nil || i != n {
		t.Fatalf("byte %d: a walk of %d records, %v", off, i, err)
	}
	return told
}
