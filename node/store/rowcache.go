package store

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
)

// rowCache keeps rows that were read or written lately, as they are encoded, so that
// a write that merges with an old record, and a read of a warm key, cost no walk
// through memtables and tables: a lookup there takes 5 to 15 us, here one.
//
// Pages hold the rows one behind the other and no pointer, so the garbage collector
// never looks inside. A page that must make room keeps the rows that were used since
// it last had to (second chance). Split into stripes by the key's hash, each with
// its own lock.
type rowCache struct {
	seed    maphash.Seed
	stripes [cacheStripes]stripe
}

const (
	cacheStripes = 8
	cachePage    = 64 << 10
	// maxCachedRow bounds a row with its key: several fit into a page.
	maxCachedRow = 12 << 10
	// cacheTries bounds the pages that one row may push out.
	cacheTries = 4
	// cacheBytes is the room for rows: 130,000 of 100 bytes with their keys.
	cacheBytes = 32 << 20
)

type stripe struct {
	mu    sync.Mutex
	index map[uint64]uint32 // hash of the key -> where its entry begins, by page and offset
	pages []page
	limit int // pages
	at    int // the page that is being filled
	// epoch counts what has been written: a row that was read from the database before
	// that is not remembered.
	epoch uint64
}

type page struct {
	buf []byte // cap: cachePage
}

// An entry is a header, the key, the row, and room for the row to grow by a little:
// rows are mostly overwritten by others of about their length.
const (
	entryHash = 0  // 8 bytes
	entryKey  = 8  // 2 bytes: length
	entryRow  = 10 // 2 bytes: length
	entryRoom = 12 // 2 bytes: length of the row's place
	entryUsed = 14 // 1 byte: read or rewritten since the page last made room
	entryHead = 16
)

func newRowCache(limit int) *rowCache {
	c := &rowCache{seed: maphash.MakeSeed()}
	for i := range c.stripes {
		s := &c.stripes[i]
		s.index, s.limit = map[uint64]uint32{}, max(2, limit/cacheStripes/cachePage)
	}
	return c
}

func (c *rowCache) find(key []byte) (*stripe, uint64) {
	h := maphash.Bytes(c.seed, key)
	return &c.stripes[h%cacheStripes], h
}

// get returns a copy of the row; ok is false when it is not here. epoch is for fill.
func (c *rowCache) get(key []byte) (row []byte, epoch uint64, ok bool) {
	s, h := c.find(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(h, key)
	if e == nil {
		return nil, s.epoch, false
	}
	e[entryUsed] = 1
	from := entryHead + int(binary.LittleEndian.Uint16(e[entryKey:]))
	return append([]byte(nil), e[from:from+int(binary.LittleEndian.Uint16(e[entryRow:]))]...), s.epoch, true
}

// fill remembers a row that was read from the database after get had returned epoch.
func (c *rowCache) fill(key, row []byte, epoch uint64) {
	s, h := c.find(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == epoch {
		s.put(h, key, row)
	}
}

// set is told of every row once it is durable.
func (c *rowCache) set(key, row []byte) {
	s, h := c.find(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	s.put(h, key, row)
}

// drop forgets a row that was deleted.
func (c *rowCache) drop(key []byte) {
	s, h := c.find(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	delete(s.index, h)
}

// entry is where the key's entry begins; nil when it has none.
func (s *stripe) entry(h uint64, key []byte) []byte {
	at, ok := s.index[h]
	if !ok {
		return nil
	}
	e := s.pages[at/cachePage].buf[at%cachePage:]
	n := int(binary.LittleEndian.Uint16(e[entryKey:]))
	if string(e[entryHead:entryHead+n]) != string(key) {
		return nil
	}
	return e
}

// put replaces the key's row, in its place if it fits there.
func (s *stripe) put(h uint64, key, row []byte) {
	if len(key)+len(row) > maxCachedRow {
		delete(s.index, h)
		return
	}
	if e := s.entry(h, key); e != nil && len(row) <= int(binary.LittleEndian.Uint16(e[entryRoom:])) {
		e[entryUsed] = 1
		binary.LittleEndian.PutUint16(e[entryRow:], uint16(len(row)))
		copy(e[entryHead+len(key):], row)
		return
	}
	room := (len(row) + 15) &^ 15
	size := entryHead + len(key) + room
	delete(s.index, h) // what it names now is not worth keeping when its page makes room
	p := s.room(size)
	var head [entryHead]byte
	binary.LittleEndian.PutUint64(head[entryHash:], h)
	binary.LittleEndian.PutUint16(head[entryKey:], uint16(len(key)))
	binary.LittleEndian.PutUint16(head[entryRow:], uint16(len(row)))
	binary.LittleEndian.PutUint16(head[entryRoom:], uint16(room))
	at := len(p.buf)
	p.buf = append(append(append(p.buf, head[:]...), key...), row...)
	p.buf = p.buf[:at+size]
	s.index[h] = uint32(s.at*cachePage + at)
}

// room is a page, now the one being filled, with space for size bytes.
func (s *stripe) room(size int) *page {
	if len(s.pages) > 0 && cachePage-len(s.pages[s.at].buf) >= size {
		return &s.pages[s.at]
	}
	if len(s.pages) < s.limit {
		s.pages = append(s.pages, page{buf: make([]byte, 0, cachePage)})
		s.at = len(s.pages) - 1
		return &s.pages[s.at]
	}
	for try := 1; ; try++ {
		s.at = (s.at + 1) % len(s.pages)
		p := &s.pages[s.at]
		s.squeeze(p, try < cacheTries)
		if cachePage-len(p.buf) >= size {
			return p
		}
	}
}

// squeeze drops the page's rows, but those used since it was last squeezed when
// keep is set.
func (s *stripe) squeeze(p *page, keep bool) {
	kept := 0
	for from := 0; from < len(p.buf); {
		e := p.buf[from:]
		size := entryHead + int(binary.LittleEndian.Uint16(e[entryKey:])) + int(binary.LittleEndian.Uint16(e[entryRoom:]))
		h := binary.LittleEndian.Uint64(e[entryHash:])
		if at, ok := s.index[h]; ok && at == uint32(s.at*cachePage+from) {
			if keep && e[entryUsed] != 0 {
				e[entryUsed] = 0
				copy(p.buf[kept:], e[:size])
				s.index[h] = uint32(s.at*cachePage + kept)
				kept += size
			} else {
				delete(s.index, h)
			}
		}
		from += size
	}
	p.buf = p.buf[:kept]
}
