package leveldisk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/syndtr/goleveldb/leveldb/util"
)

// goleveldb's log format, for journals and manifests alike: blocks of 32 KiB, each
// with chunks of a 7-byte header (masked CRC-32C over kind and payload, length,
// kind) and a payload. A record is one full chunk, or a first, middles and a last.
// Less than 7 bytes at the end of a block are padding.
const (
	blockSize  = 32 << 10
	headerSize = 7

	chunkFull   = 1
	chunkFirst  = 2
	chunkMiddle = 3
	chunkLast   = 4
)

// logFile reads a log by blocks; one block is held at a time.
type logFile struct {
	r    io.ReaderAt
	size int64
	at   int64 // offset of the block in buf, -1: none
	n    int
	buf  [blockSize]byte
}

func newLogFile(r io.ReaderAt, size int64) *logFile { return &logFile{r: r, size: size, at: -1} }

// rest is what off's block holds from off on; shared until the next call.
func (l *logFile) rest(off int64) ([]byte, error) {
	start := off - off%blockSize
	if start != l.at {
		n := int(min(blockSize, l.size-start))
		if _, err := l.r.ReadAt(l.buf[:n], start); err != nil && !errors.Is(err, io.EOF) {
			l.at = -1
			return nil, err
		}
		l.at, l.n = start, n
	}
	return l.buf[off-start : l.n], nil
}

type chunk struct {
	kind    byte
	payload []byte // shared with the block
	size    int64  // header and payload
}

// parseChunk reads the chunk at the beginning of b, what is left of a block. why
// is empty for a whole one with the right checksum.
func parseChunk(b []byte) (c chunk, why string) {
	if len(b) < headerSize {
		return c, "a chunk header is cut off"
	}
	length, kind := int(binary.LittleEndian.Uint16(b[4:])), b[6]
	switch {
	case kind < chunkFull || kind > chunkLast:
		return c, "no chunk begins here"
	case headerSize+length > len(b):
		return c, "a chunk is cut off"
	case binary.LittleEndian.Uint32(b) != util.NewCRC(b[6:headerSize+length]).Value():
		return c, "a chunk has a wrong checksum"
	}
	return chunk{kind, b[headerSize : headerSize+length], int64(headerSize + length)}, ""
}

// record is one whole record of a log.
type record struct {
	off  int64  // of its first chunk
	size int    // payload bytes
	head []byte // the first of them, as many as were asked for; shared
}

// tail is where the whole records of a log end.
type tail struct {
	end int64 // after the last whole record
	bad int64 // first chunk that is not what must follow; size if there is none
	why string
}

// errForeign is what a visitor returns for a whole record that does not belong here:
// the old bytes of another file. The log ends before it.
var errForeign = errors.New("an older record")

// records visits every whole record from the beginning to the first bad chunk,
// handing over the first keep bytes of each.
func (l *logFile) records(keep int, visit func(record) error) (t tail, err error) {
	var rec record
	open := false // inside a record
	off := int64(0)
	for off < l.size {
		b, err := l.rest(off)
		if err != nil {
			return t, err
		}
		if pad := blockSize - off%blockSize; pad < headerSize && off+pad <= l.size {
			off += pad
			continue
		}
		c, why := parseChunk(b)
		if why == "" && open != (c.kind == chunkMiddle || c.kind == chunkLast) {
			why = "a chunk is out of place"
		}
		if why != "" {
			t.bad, t.why = off, why
			return t, nil
		}
		if !open {
			rec = record{off: off, head: rec.head[:0]}
		}
		rec.size += len(c.payload)
		rec.head = append(rec.head, c.payload[:min(len(c.payload), keep-len(rec.head))]...)
		open = c.kind == chunkFirst || c.kind == chunkMiddle
		off += c.size
		if !open {
			switch err := visit(rec); {
			case errors.Is(err, errForeign):
				t.bad, t.why = rec.off, errForeign.Error()
				return t, nil
			case err != nil:
				return t, err
			}
			t.end = off
		}
	}
	t.bad = l.size
	if open {
		t.why = "the last record is cut off"
	}
	return t, nil
}

// recordAfter looks at every offset from off on for the valid beginning of a record
// that later says was written after the one at off. head has need bytes. This is
// what tells damage from a torn tail: records are synced one by one, so the power
// cut can only have torn the last.
//
// later must be cheap and choosy: it runs before the checksum, and values that
// clients chose lie in the searched bytes.
func (l *logFile) recordAfter(off int64, need int, later func(head []byte) bool) (int64, bool, error) {
	var head []byte
	for ; off < l.size; off++ {
		b, err := l.rest(off)
		if err != nil {
			return 0, false, err
		}
		if len(b) < headerSize {
			off += int64(len(b)) - 1
			continue
		}
		kind, length := b[6], int(binary.LittleEndian.Uint16(b[4:]))
		if kind != chunkFull && kind != chunkFirst || headerSize+length > len(b) {
			continue
		}
		if length >= need {
			if !later(b[headerSize : headerSize+need]) {
				continue
			}
			if _, why := parseChunk(b); why == "" {
				return off, true, nil
			}
			continue
		}
		// A first chunk may be too short when it lies at the end of its block.
		if kind == chunkFirst && headerSize+length == len(b) && len(b)+int(off%blockSize) == blockSize {
			if head, err = l.head(off, need, head[:0]); err != nil {
				return 0, false, err
			}
			if len(head) == need && later(head) {
				return off, true, nil
			}
		}
	}
	return 0, false, nil
}

// zerosFrom tells whether nothing but zeros follows.
func (l *logFile) zerosFrom(off int64) (bool, error) {
	for off < l.size {
		b, err := l.rest(off)
		if err != nil {
			return false, err
		}
		if !bytes.Equal(b, zeros[:len(b)]) {
			return false, nil
		}
		off += int64(len(b))
	}
	return true, nil
}

// head collects the first need payload bytes of the record at off over several
// chunks; fewer if they are not valid.
func (l *logFile) head(off int64, need int, dst []byte) ([]byte, error) {
	for first := true; off < l.size && len(dst) < need; first = false {
		b, err := l.rest(off)
		if err != nil {
			return dst, err
		}
		c, why := parseChunk(b)
		if why != "" || first != (c.kind == chunkFull || c.kind == chunkFirst) {
			return dst, nil
		}
		dst = append(dst, c.payload[:min(len(c.payload), need-len(dst))]...)
		off += c.size
	}
	return dst, nil
}
