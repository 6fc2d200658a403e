package wire

import (
	"encoding/binary"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// Flags of a row.
const (
	rowObject byte = 1 << iota
	rowTarget
	rowCursor
	rowStrong // a value of a strong bucket; from protocolStrong on
)

const minRow = 1 + 1 + 2 + 1 // flags, bucket, key of one byte, generation

// appendRows appends rows; objects only when asked for (a hint done names hints,
// it does not send them back).
func appendRows(dst []byte, rows []core.Row, objects bool) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(rows)))
	for i := range rows {
		r := &rows[i]
		f := bitIf(objects && r.Object != nil, rowObject) | bitIf(!r.Target.IsZero(), rowTarget) | bitIf(len(r.Cursor) != 0, rowCursor) |
			bitIf(objects && r.Strong != nil, rowStrong)
		dst = binary.AppendUvarint(append(dst, f), uint64(r.Bucket))
		dst = appendBytes(dst, r.Key)
		dst = binary.AppendUvarint(dst, r.Gen)
		if f&rowTarget != 0 {
			dst = append(dst, r.Target[:]...)
		}
		if f&rowCursor != 0 {
			dst = appendBytes(dst, r.Cursor)
		}
		if f&rowObject != 0 {
			dst = AppendObject(dst, r.Object)
		}
		if f&rowStrong != 0 {
			dst = appendStrongValue(dst, r.Strong)
		}
	}
	return dst
}

func (d *decoder) rows(objects, strong bool) []core.Row {
	n := d.count(MaxRows, minRow)
	if n == 0 {
		return nil
	}
	known := rowTarget | rowCursor | bitIf(objects, rowObject) | bitIf(strong, rowStrong)
	rows := make([]core.Row, n)
	for i := 0; i < n && !d.bad; i++ {
		d.row(&rows[i], known)
	}
	return rows
}

func (d *decoder) row(r *core.Row, known byte) {
	f := d.flags(known)
	r.Bucket = hashring.BucketID(d.uvarint())
	r.Key = d.some(core.MaxKey)
	r.Gen = d.uvarint()
	if f&rowTarget != 0 {
		if r.Target = d.sid(); r.Target.IsZero() {
			d.fail()
		}
	}
	if f&rowCursor != 0 {
		r.Cursor = d.some(MaxCursor)
	}
	if f&rowObject != 0 {
		r.Object = d.object()
	}
	if f&rowStrong != 0 {
		r.Strong = d.strongValue()
	}
}
