package frames

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// A frame is CRC-32C(4), type(1), length(3), id(4), payload; the CRC covers all
// behind it, the length counts the payload.
const (
	frameHead = 12
	// maxPayload of one frame. What is longer travels in chunks, which those of other
	// messages and whole messages may stand between: a large value holds up nobody.
	maxPayload = 64 << 10
	chunkHead  = 4 // total length of the message, in its first chunk
)

const (
	framePing    byte = 1 // the far side answers with a pong of the same id
	framePong    byte = 2
	frameMessage byte = 3 // one whole request or reply
	frameFirst   byte = 4 // total length and first bytes of a large one
	frameNext    byte = 5 // its next bytes
	frameGoAway  byte = 6 // from the server: send no more requests; payload: why, for a person
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errFrame   = errors.New("broken frame")
)

// frame is one parsed frame; its payload aliases the input.
type frame struct {
	kind    byte
	id      uint32
	payload []byte
}

// beginFrame appends the room of a frame's head and its id.
func beginFrame(dst []byte, id uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, 0, 0, 0, 0, 0, 0, 0, 0), id)
}

// sealFrame fills in the head of the frame that starts at b[at:] and ends with b.
func sealFrame(b []byte, at int, kind byte) {
	n := len(b) - at - frameHead
	binary.BigEndian.PutUint32(b[at+4:], uint32(kind)<<24|uint32(n))
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b[at+4:], castagnoli))
}

// appendFrame appends a whole frame.
func appendFrame(dst []byte, kind byte, id uint32, payload []byte) []byte {
	at := len(dst)
	dst = append(beginFrame(dst, id), payload...)
	sealFrame(dst, at, kind)
	return dst
}

// parseFrame looks at the front of b. size is what the frame takes, or what is
// needed to know more; the frame is whole when size <= len(b).
func parseFrame(b []byte) (f frame, size int, err error) {
	if len(b) < frameHead {
		return f, frameHead, nil
	}
	word := binary.BigEndian.Uint32(b[4:])
	n := int(word & 0xffffff)
	f.kind, f.id = byte(word>>24), binary.BigEndian.Uint32(b[8:])
	if f.kind < framePing || f.kind > frameGoAway || n > maxPayload {
		return f, 0, fmt.Errorf("%w: type %d of %d bytes", errFrame, f.kind, n)
	}
	if size = frameHead + n; len(b) < size {
		return f, size, nil
	}
	if got, want := crc32.Checksum(b[4:size], castagnoli), binary.BigEndian.Uint32(b); got != want {
		return f, 0, fmt.Errorf("%w: CRC-32C %08x, the head says %08x", errFrame, got, want)
	}
	f.payload = b[frameHead:size]
	return f, size, nil
}

// outgoing is a large message on its way.
type outgoing struct {
	id   uint32
	rest []byte
	sent bool // the first chunk has left
}

// appendChunk appends the next chunk of m and tells whether it was the last.
func (m *outgoing) appendChunk(dst []byte) ([]byte, bool) {
	at, kind, room := len(dst), frameNext, maxPayload
	dst = beginFrame(dst, m.id)
	if !m.sent {
		kind, m.sent = frameFirst, true
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.rest)))
		room -= chunkHead
	}
	part := m.rest[:min(len(m.rest), room)]
	dst = append(dst, part...)
	m.rest = m.rest[len(part):]
	sealFrame(dst, at, kind)
	return dst, len(m.rest) == 0
}

// chunker sends large messages in turns.
type chunker struct{ queue []*outgoing }

// add queues the encoded message b, which it keeps.
func (c *chunker) add(id uint32, b []byte) { c.queue = append(c.queue, &outgoing{id: id, rest: b}) }

// turns is how many large messages share the connection; the next ones wait, so
// that the far side has few of them half.
const turns = 4

// appendRound appends one chunk of each of the oldest messages.
func (c *chunker) appendRound(dst []byte) []byte {
	for i, n := 0, 0; n < turns && i < len(c.queue); n++ {
		var last bool
		if dst, last = c.queue[i].appendChunk(dst); last {
			c.queue = slices.Delete(c.queue, i, i+1)
		} else {
			i++
		}
	}
	return dst
}

// incoming is a large message on its way in.
type incoming struct {
	buf   []byte // nil: what comes is thrown away
	why   dropped
	total int
	got   int
}

// assembly puts large messages together, at most maxParts at a time.
type assembly struct {
	parts map[uint32]*incoming
	limit int // bytes of one message
	// reserve asks for room for n bytes; false: the message is thrown away. nil: yes.
	reserve func(n int) bool
}

// maxParts is how many large messages may come in at a time, with room for senders
// that take more turns.
const maxParts = 4 * turns

// dropped says why a large message is thrown away while it comes in.
type dropped byte

const (
	whole       dropped = iota
	tooLarge            // above limit
	noRoom              // reserve said no
	absurdTotal = 1 << 30
)

// add takes a chunk. At the last one it returns the message, or why it was thrown
// away: not before, for until then the sender may not use its id again.
func (a *assembly) add(f *frame) (done []byte, why dropped, err error) {
	p := f.payload
	m := a.parts[f.id]
	if f.kind == frameFirst {
		if m != nil || len(p) < chunkHead || len(a.parts) >= maxParts {
			return nil, whole, fmt.Errorf("%w: large message %d begins, %d are open", errFrame, f.id, len(a.parts))
		}
		total := binary.BigEndian.Uint32(p)
		if total == 0 || total > absurdTotal {
			return nil, whole, fmt.Errorf("%w: a message of %d bytes", errFrame, total)
		}
		p = p[chunkHead:]
		m = &incoming{total: int(total)}
		switch {
		case m.total > a.limit:
			m.why = tooLarge
		case a.reserve != nil && !a.reserve(m.total):
			m.why = noRoom
		default:
			m.buf = make([]byte, 0, m.total)
		}
		if a.parts == nil {
			a.parts = map[uint32]*incoming{}
		}
		a.parts[f.id] = m
	}
	if m == nil || len(p) == 0 || m.got+len(p) > m.total {
		return nil, whole, fmt.Errorf("%w: chunk of %d bytes of message %d", errFrame, len(p), f.id)
	}
	m.got += len(p)
	if m.buf != nil {
		m.buf = append(m.buf, p...)
	}
	if m.got == m.total {
		delete(a.parts, f.id)
		return m.buf, m.why, nil
	}
	return nil, whole, nil
}

// open is the bytes that messages coming in have reserved.
func (a *assembly) open() (n int) {
	for _, m := range a.parts {
		n += cap(m.buf)
	}
	return n
}
