package leveldisk

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Tags of goleveldb's manifest records; its session_record.go is the source.
const (
	tagComparer    = 1
	tagJournalNum  = 2
	tagNextFileNum = 3
	tagSeqNum      = 4
	tagCompPtr     = 5
	tagDelTable    = 6
	tagAddTable    = 7
	tagPrevJournal = 9
)

func isTag(b byte) bool { return b >= tagComparer && b <= tagPrevJournal && b != 8 }

// manifest is the state that the records of one manifest add up to.
type manifest struct {
	journal     int64 // journals below it are obsolete
	prevJournal int64
	seq         uint64 // of the last write that is in a table
	tables      map[int64]int64
	hasComparer bool
}

var errManifest = errors.New("a manifest record does not decode")

// apply folds one record into m.
func (m *manifest) apply(b []byte) error {
	d := fields{b: b}
	for len(d.b) > 0 && !d.bad {
		switch tag := d.uvarint(); tag {
		case tagComparer:
			d.bytes()
			m.hasComparer = true
		case tagJournalNum:
			m.journal = d.number()
		case tagPrevJournal:
			m.prevJournal = d.number()
		case tagNextFileNum:
			d.number()
		case tagSeqNum:
			m.seq = d.uvarint()
		case tagCompPtr:
			d.uvarint()
			d.bytes()
		case tagDelTable:
			d.uvarint()
			delete(m.tables, d.number())
		case tagAddTable:
			d.uvarint()
			num, size := d.number(), d.number()
			d.bytes()
			d.bytes()
			if !d.bad {
				m.tables[num] = size
			}
		default:
			return fmt.Errorf("%w: unknown tag %d", errManifest, tag)
		}
	}
	if d.bad {
		return errManifest
	}
	return nil
}

type fields struct {
	b   []byte
	bad bool
}

func (d *fields) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *fields) number() int64 {
	v := int64(d.uvarint())
	if v < 0 {
		d.bad, d.b = true, nil
		return 0
	}
	return v
}

func (d *fields) bytes() {
	n := d.uvarint()
	if d.bad || n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return
	}
	d.b = d.b[n:]
}
