package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/quoratedb/quorate/hashring"
)

// Every connection opens with one preface from the dialler and one answer from
// the acceptor, of one shape:
//
//	magic(4) version(1) kind or status(1) length(2) body(length) CRC-32C(4)
//
// The CRC covers all before it. The shape is for all time; the body may grow at
// its end, and readers ignore what they do not know there.
var magic = [4]byte{0xf1, 'q', 'r', 't'} // the first byte is in no text protocol

const (
	prefaceVersion = 1
	prefaceHead    = 8
	maxBody        = 2048 // of a preface, with room for what later versions add
	minBody        = 16 + 16 + 8 + 2 + 2 + 16 + 1 + 2
	maxNode        = 255
	maxReason      = 512
)

// kind is what a connection is for.
type kind byte

const (
	kindMessages kind = 1 // small peer messages
	kindBulk     kind = 2 // chunks of large ones
	kindControl  kind = 3 // one control call
	kindRaft     kind = 4 // a raw stream
)

func (k kind) String() string {
	switch k {
	case kindMessages:
		return "messages"
	case kindBulk:
		return "bulk"
	case kindControl:
		return "control"
	case kindRaft:
		return "raft"
	}
	return "unknown"
}

// Hello is how two nodes introduce themselves.
type Hello struct {
	Cluster  hashring.ClusterID // zero: in no cluster yet; then only control calls are possible
	SID      hashring.SID
	Node     string // at most 255 bytes
	Boot     uint64
	Min, Max uint16 // protocol versions spoken
}

// preface is either side's opening.
type preface struct {
	code   byte // kind from the dialler, Refusal from the acceptor
	hello  Hello
	target hashring.SID // the store the dialler means; zero: whoever is there
	reason string       // of a refusal
}

var errGarbage = errors.New("not a quorate peer")

func (p *preface) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, magic[:]...)
	dst = append(dst, prefaceVersion, p.code, 0, 0)
	h := &p.hello
	dst = append(append(dst, h.Cluster[:]...), h.SID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, h.Boot)
	dst = binary.BigEndian.AppendUint16(dst, h.Min)
	dst = binary.BigEndian.AppendUint16(dst, h.Max)
	dst = append(dst, p.target[:]...)
	node, reason := h.Node[:min(len(h.Node), maxNode)], p.reason[:min(len(p.reason), maxReason)]
	dst = append(append(dst, byte(len(node))), node...)
	dst = append(binary.BigEndian.AppendUint16(dst, uint16(len(reason))), reason...)
	binary.BigEndian.PutUint16(dst[at+6:], uint16(len(dst)-at-prefaceHead))
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// readPreface takes exactly one preface from r and not a byte more, since a raw
// stream may follow. Errors: errGarbage, or those of r.
func readPreface(r io.Reader) (p preface, err error) {
	var buf [prefaceHead + maxBody + 4]byte
	if _, err = io.ReadFull(r, buf[:prefaceHead]); err != nil {
		return p, err
	}
	n := int(binary.BigEndian.Uint16(buf[6:]))
	if [4]byte(buf[:4]) != magic || buf[4] != prefaceVersion || n < minBody || n > maxBody {
		return p, errGarbage
	}
	whole := buf[:prefaceHead+n+4]
	if _, err = io.ReadFull(r, whole[prefaceHead:]); err != nil {
		return p, err
	}
	return parsePreface(whole)
}

func parsePreface(whole []byte) (p preface, err error) {
	end := len(whole) - 4
	if crc32.Checksum(whole[:end], castagnoli) != binary.BigEndian.Uint32(whole[end:]) {
		return p, fmt.Errorf("%w: the hello fails its checksum", errGarbage)
	}
	p.code = whole[5]
	b := whole[prefaceHead:end]
	copy(p.hello.Cluster[:], b)
	copy(p.hello.SID[:], b[16:])
	p.hello.Boot = binary.BigEndian.Uint64(b[32:])
	p.hello.Min = binary.BigEndian.Uint16(b[40:])
	p.hello.Max = binary.BigEndian.Uint16(b[42:])
	copy(p.target[:], b[44:])
	b = b[60:]
	n := int(b[0])
	if len(b) < 1+n+2 {
		return p, errGarbage
	}
	p.hello.Node = string(b[1 : 1+n])
	b = b[1+n:]
	if n = int(binary.BigEndian.Uint16(b)); n > maxReason || len(b) < 2+n {
		return p, errGarbage
	}
	p.reason = string(b[2 : 2+n])
	return p, nil
}
