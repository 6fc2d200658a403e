package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

// A frame is CRC-32C(4), type(1), length(3), payload; the CRC covers all behind it.
const (
	frameHead  = 8
	maxPayload = 64 << 10 // a message above it travels in chunks, on the bulk connection
	chunkHead  = 4        // total length of the message, in its first chunk
)

const (
	framePing    byte = 1 // nothing: "I live"
	frameMessage byte = 2 // one whole message
	frameFirst   byte = 3 // total length and first bytes of a large message
	frameNext    byte = 4 // its next bytes
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errFrame   = errors.New("broken frame")
)

// sealFrame fills in the head of the frame that starts at b[at:] and ends with b.
func sealFrame(b []byte, at int, kind byte) {
	n := len(b) - at - frameHead
	binary.BigEndian.PutUint32(b[at+4:], uint32(kind)<<24|uint32(n))
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b[at+4:], castagnoli))
}

// appendFrame appends m as one frame; false, and dst unchanged, when it does not
// fit into one.
func appendFrame(dst []byte, m *core.Message) ([]byte, bool) {
	at := len(dst)
	dst = wire.AppendMessage(append(dst, 0, 0, 0, 0, 0, 0, 0, 0), m)
	if len(dst)-at-frameHead > maxPayload {
		return dst[:at], false
	}
	sealFrame(dst, at, frameMessage)
	return dst, true
}

var pingFrame = func() []byte {
	b := make([]byte, frameHead)
	sealFrame(b, 0, framePing)
	return b
}()

// parseFrame looks at the front of b. size is what the frame takes, or what is
// needed to know more; the frame is whole when size <= len(b).
func parseFrame(b []byte) (kind byte, payload []byte, size int, err error) {
	if len(b) < frameHead {
		return 0, nil, frameHead, nil
	}
	word := binary.BigEndian.Uint32(b[4:])
	n := int(word & 0xffffff)
	if kind = byte(word >> 24); kind < framePing || kind > frameNext || n > maxPayload {
		return 0, nil, 0, fmt.Errorf("%w: type %d of %d bytes", errFrame, kind, n)
	}
	if size = frameHead + n; len(b) < size {
		return kind, nil, size, nil
	}
	if got, want := crc32.Checksum(b[4:size], castagnoli), binary.BigEndian.Uint32(b); got != want {
		return 0, nil, 0, fmt.Errorf("%w: CRC-32C %08x, the head says %08x", errFrame, got, want)
	}
	return kind, b[frameHead:size], size, nil
}

// assembly puts the chunks of one large message together. The chunks of a message
// follow each other on their connection.
type assembly struct {
	buf   []byte
	total int
}

// add takes a chunk; it returns the message's bytes once they are complete.
func (a *assembly) add(kind byte, p []byte) ([]byte, error) {
	if kind == frameFirst {
		if a.total != 0 || len(p) < chunkHead {
			return nil, fmt.Errorf("%w: a message begins inside another", errFrame)
		}
		total := binary.BigEndian.Uint32(p)
		if total == 0 || total > wire.MaxMessage {
			return nil, fmt.Errorf("%w: a message of %d bytes", errFrame, total)
		}
		p = p[chunkHead:]
		a.total, a.buf = int(total), make([]byte, 0, total)
	}
	if a.total == 0 || len(p) == 0 || len(a.buf)+len(p) > a.total {
		return nil, fmt.Errorf("%w: chunk of %d bytes, %d of %d are there", errFrame, len(p), len(a.buf), a.total)
	}
	if a.buf = append(a.buf, p...); len(a.buf) < a.total {
		return nil, nil
	}
	whole := a.buf
	a.buf, a.total = nil, 0
	return whole, nil
}

// chunkHeader is the frame's head and, in a first chunk, the total, for the bytes
// of part that follow it on the wire.
func chunkHeader(kind byte, total, part []byte) []byte {
	b := append(make([]byte, frameHead, frameHead+chunkHead), total...)
	binary.BigEndian.PutUint32(b[4:], uint32(kind)<<24|uint32(len(total)+len(part)))
	binary.BigEndian.PutUint32(b, crc32.Update(crc32.Checksum(b[4:], castagnoli), castagnoli, part))
	return b
}
