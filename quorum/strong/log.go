package strong

import (
	"encoding/binary"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
)

// log is a partition's log as this replica has staged it: a header of every entry
// behind base, the entries themselves as long as they are not applied and synced (and
// some more).
type log struct {
	base  Position
	head  []Header // of the entries base.Index+1, +2, ...
	tail  []*Entry // the newest of them
	bytes int      // of all entries
	kept  int      // bytes of tail
	open  int      // bytes of what is not applied

	// What is not applied, by bucket and key and by request id; nil until somebody looks
	// for it (find): a follower that is only a follower has no use for it.
	newest map[string]keyInLog
	ids    map[RequestID]uint64
}

// keyInLog is what of a key is in the log and not applied: the newest effect, and how many.
type keyInLog struct {
	index uint64
	count int
}

func newLog(base Position) log {
	return log{base: base}
}

// keyRoom holds nearly every key: looking one up allocates nothing.
const keyRoom = 128

func appendKey(room []byte, b hashring.BucketID, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(room, uint64(b)), key...)
}

// find makes what is behind applied findable, from now on.
func (l *log) find(applied uint64) {
	if l.newest != nil {
		return
	}
	l.newest, l.ids = make(map[string]keyInLog), make(map[RequestID]uint64)
	for n := applied + 1; n <= l.lastIndex(); n++ {
		l.note(l.cached(n)) // what is not applied is cached
	}
}

// forget is for who no longer looks.
func (l *log) forget() { l.newest, l.ids = nil, nil }

// of is what is in the log of a key, after find.
func (l *log) of(b hashring.BucketID, key []byte) (keyInLog, bool) {
	var room [keyRoom]byte
	k, ok := l.newest[string(appendKey(room[:0], b, key))]
	return k, ok
}

func (l *log) lastIndex() uint64 { return l.base.Index + uint64(len(l.head)) }

func (l *log) last() Position {
	i := l.lastIndex()
	return Position{l.epochAt(i), i}
}

// epochAt is the epoch of entry i, 0 if it is not known here: cut off, or not there yet.
func (l *log) epochAt(i uint64) uint64 {
	switch {
	case i == l.base.Index:
		return l.base.Epoch
	case i < l.base.Index || i > l.lastIndex():
		return 0
	}
	return l.head[i-l.base.Index-1].Epoch
}

// runStart is the first index of the run of one epoch that i is in.
func (l *log) runStart(i uint64) uint64 {
	for i > l.base.Index+1 && l.epochAt(i-1) == l.epochAt(i) {
		i--
	}
	return i
}

// cached is entry i if it is in memory.
func (l *log) cached(i uint64) *Entry {
	first := l.lastIndex() + 1 - uint64(len(l.tail))
	if i < first || i > l.lastIndex() {
		return nil
	}
	return l.tail[i-first]
}

func header(e *Entry) Header {
	return Header{Epoch: e.Epoch, Size: uint32(e.Size()), Tombstone: e.Kind == Effect && e.Value.Tombstone}
}

// append adds the next entry, not applied.
func (l *log) append(e *Entry) {
	if last := l.last(); e.Index != last.Index+1 || e.Epoch < last.Epoch {
		assert.Fail("S4", "entry %v behind %v", e.At(), last)
	}
	l.head = append(l.head, header(e))
	l.hold(e)
	l.open += e.Size()
	if l.newest != nil {
		l.note(e)
	}
}

func (l *log) hold(e *Entry) {
	l.tail = append(l.tail, e)
	l.bytes += e.Size()
	l.kept += e.Size()
}

// note makes an entry that is not applied findable.
func (l *log) note(e *Entry) {
	if e.Kind == Effect {
		k := string(appendKey(nil, e.Bucket, e.Key))
		l.newest[k] = keyInLog{e.Index, l.newest[k].count + 1}
	}
	if e.Done != nil {
		l.ids[e.Done.ID] = e.Index
	}
}

// applied forgets that an entry is not applied.
func (l *log) applied(e *Entry) {
	l.open -= e.Size()
	if l.newest == nil {
		return
	}
	if e.Kind == Effect {
		if n, _ := l.of(e.Bucket, e.Key); n.count <= 1 {
			var room [keyRoom]byte
			delete(l.newest, string(appendKey(room[:0], e.Bucket, e.Key)))
		} else {
			l.newest[string(appendKey(nil, e.Bucket, e.Key))] = keyInLog{n.index, n.count - 1}
		}
	}
	if e.Done != nil && l.ids[e.Done.ID] == e.Index {
		delete(l.ids, e.Done.ID)
	}
}

// cutTail drops the entries at i and behind; those up to appliedTo are applied.
func (l *log) cutTail(i, appliedTo uint64) {
	for n := l.lastIndex(); n >= i; n-- {
		l.bytes -= int(l.head[n-l.base.Index-1].Size)
		if e := l.cached(n); e != nil {
			l.kept -= e.Size()
			l.tail = l.tail[:len(l.tail)-1]
		}
		l.head = l.head[:n-l.base.Index-1]
	}
	l.open = 0
	for n := appliedTo + 1; n <= l.lastIndex(); n++ {
		l.open += l.cached(n).Size() // what is not applied is cached
	}
	l.forget()
}

// cutHead drops the entries up to i, all of them applied.
func (l *log) cutHead(i uint64) {
	epoch := l.epochAt(i)
	n := i - l.base.Index
	for _, h := range l.head[:n] {
		l.bytes -= int(h.Size)
	}
	l.shed(func(index uint64) bool { return index <= i })
	l.head = append(make([]Header, 0, len(l.head)-int(n)+64), l.head[n:]...)
	l.base = Position{epoch, i}
}

// shed lets go of cached entries from the front as long as it may.
func (l *log) shed(may func(index uint64) bool) {
	first, n := l.lastIndex()+1-uint64(len(l.tail)), 0
	for n < len(l.tail) && may(first+uint64(n)) {
		l.kept -= l.tail[n].Size()
		n++
	}
	if n > 0 {
		l.tail = append(make([]*Entry, 0, len(l.tail)-n+64), l.tail[n:]...)
	}
}
