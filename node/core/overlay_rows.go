package core

import (
	"encoding/binary"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// overlay is what has been staged and is not yet durable: newest object per row,
// with the batch it is in. Reads look here before the engine.
type overlay struct {
	rows  map[string]*staged // by name
	queue fifo[settling]     // in order of seq
	bytes int
	name  []byte    // of the row that is looked up
	spare []*staged // to be used again, bounded by maxSpare
}

type staged struct {
	object *version.Object // nil: dropped
	gen    uint64
	seq    uint64
	name   string
	times  int // in the queue
}

type settling struct {
	seq  uint64
	row  *staged
	size int
}

// maxSpare is what a step may stage: 256 events with a row each.
const maxSpare = 256

func newOverlay() overlay { return overlay{rows: map[string]*staged{}} }

// record looks for a key's record, hint for one of its hints; nil: it is not staged.
func (o *overlay) record(p uint32, b hashring.BucketID, key []byte) *staged {
	if len(o.rows) == 0 {
		return nil
	}
	o.nameRecord(p, b, key)
	return o.rows[string(o.name)]
}

func (o *overlay) hint(p uint32, b hashring.BucketID, key []byte, target hashring.SID) *staged {
	if len(o.rows) == 0 {
		return nil
	}
	o.nameHint(p, b, key, target)
	return o.rows[string(o.name)]
}

// A name begins with a byte that tells records from hints, partition and bucket.
func (o *overlay) nameHead(kind byte, p uint32, b hashring.BucketID) {
	o.name = binary.BigEndian.AppendUint32(append(o.name[:0], kind), p)
	o.name = binary.BigEndian.AppendUint64(o.name, uint64(b))
}

func (o *overlay) nameRecord(p uint32, b hashring.BucketID, key []byte) {
	o.nameHead(0, p, b)
	o.name = append(o.name, key...)
}

func (o *overlay) nameHint(p uint32, b hashring.BucketID, key []byte, target hashring.SID) {
	o.nameHead(1, p, b)
	o.name = append(append(o.name, target[:]...), key...)
}

func (o *overlay) putRecord(p uint32, b hashring.BucketID, key []byte, object *version.Object, seq uint64) {
	o.nameRecord(p, b, key)
	o.put(object, 0, seq, len(key))
}

func (o *overlay) putHint(w *HintWrite, seq uint64) {
	o.nameHint(w.Partition, w.Bucket, w.Key, w.Target)
	o.put(w.Object, w.Gen, seq, len(w.Key))
}

func (o *overlay) put(object *version.Object, gen, seq uint64, key int) {
	r := o.rows[string(o.name)]
	if r == nil {
		if n := len(o.spare); n > 0 {
			r, o.spare = o.spare[n-1], o.spare[:n-1]
		} else {
			r = &staged{}
		}
		r.name = string(o.name)
		o.rows[r.name] = r
	}
	r.object, r.gen, r.seq = object, gen, seq
	r.times++
	size := object.Size() + key
	o.queue.push(settling{seq, r, size})
	o.bytes += size
}

// settle drops the rows whose newest object is durable: the engine has it.
func (o *overlay) settle(durable uint64) {
	for o.queue.len() > 0 && o.queue.first().seq <= durable {
		q := o.queue.pop()
		o.bytes -= q.size
		if q.row.times--; q.row.times > 0 {
			continue // a newer one waits
		}
		delete(o.rows, q.row.name)
		if *q.row = (staged{}); len(o.spare) < maxSpare {
			o.spare = append(o.spare, q.row)
		}
	}
}
