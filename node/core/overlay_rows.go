package core

import (
	"encoding/binary"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
)

// overlay is what has been staged and is not yet durable: newest object, value or
// completion record per row, with the batch it is in. Reads look here before the engine.
type overlay struct {
	rows  map[string]*staged // by name
	queue fifo[settling]     // in order of seq
	bytes int
	name  []byte    // of the row that is looked up
	spare []*staged // to be used again, bounded by maxSpare
}

type staged struct {
	object *version.Object // nil: dropped
	value  *strong.Value   // of a strong partition, nil: dropped
	done   *strong.Completion
	gen    uint64
	seq    uint64
	name   string
	times  int // in the queue, and one more while it is held
	held   int // its place among what a strong partition holds, from 1; 0: it is not held
}

type settling struct {
	seq  uint64
	row  *staged // nil: only counted
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

// A name begins with a byte that tells records from hints, strong values and
// completion records, then partition and bucket.
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

func (o *overlay) nameValue(p uint32, generation uint64, b hashring.BucketID, key []byte) {
	o.nameHead(2, p, b)
	o.name = append(binary.BigEndian.AppendUint64(o.name, generation), key...)
}

func (o *overlay) nameCompletion(p uint32, generation uint64, id strong.RequestID) {
	o.nameHead(3, p, hashring.BucketID(generation))
	o.name = append(binary.BigEndian.AppendUint64(o.name, uint64(id.StampMS)), id.Nonce[:]...)
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
	r := o.row()
	r.object, r.gen = object, gen
	o.push(r, seq, object.Size()+key)
}

// putStrong replaces the named row of a strong partition.
func (o *overlay) putStrong(v *strong.Value, done *strong.Completion, seq uint64, size int) {
	r := o.row()
	r.value, r.done = v, done
	o.push(r, seq, size+strongRowSize)
}

// count adds bytes that wait for the disk and are kept elsewhere.
func (o *overlay) count(seq uint64, size int) {
	o.queue.push(settling{seq, nil, size})
	o.bytes += size
}

// row is the named row, a new one if need be.
func (o *overlay) row() *staged {
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
	return r
}

func (o *overlay) push(r *staged, seq uint64, size int) {
	r.seq = seq
	r.times++
	o.queue.push(settling{seq, r, size})
	o.bytes += size
}

// settle drops the rows whose newest object is durable: the engine has it.
func (o *overlay) settle(durable uint64) {
	for o.queue.len() > 0 && o.queue.first().seq <= durable {
		q := o.queue.pop()
		o.bytes -= q.size
		if q.row == nil {
			continue
		}
		if q.row.times--; q.row.times > 0 {
			continue // a newer one waits
		}
		delete(o.rows, q.row.name)
		if *q.row = (staged{}); len(o.spare) < maxSpare {
			o.spare = append(o.spare, q.row)
		}
	}
}
