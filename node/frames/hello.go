package frames

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/quoratedb/quorate/hashring"
)

// A connection opens with two, or with a token four, prefaces of one shape:
//
//	magic(4) shape(1) code(1) length(2) body(length) CRC-32C(4)
//
// The CRC covers all before it. The shape is for all time; the body may grow at its
// end, and readers ignore what they do not know there.
var magic = [4]byte{0xf1, 'q', 'r', 'c'} // the first byte is in no text protocol

const (
	prefaceShape = 1
	prefaceHead  = 8
	maxBody      = 2048
	maxName      = 255
	maxReason    = 512
	nonceSize    = 16
)

// Codes of what a client sends; a server sends a Refusal.
const (
	codeHello byte = 1
	codeProof byte = 2
)

// Refusal is why a server does not take a connection. The numbers are the wire's.
type Refusal byte

// Refusals.
const (
	accepted       Refusal = 0
	RefusedVersion Refusal = 1 // no common version
	RefusedCluster Refusal = 2 // the client means another cluster
	RefusedToken   Refusal = 3 // the token is another one, or is missing
	RefusedBusy    Refusal = 4 // as many connections as there may be
	RefusedDrain   Refusal = 5 // the node is being stopped
)

// RefusedError is a connection that was refused, by the node or by this end.
type RefusedError struct {
	Code   Refusal
	Reason string // for a person
	Node   string // "" if the node did not say
}

func (e *RefusedError) Error() string { return "frames refused: " + e.Reason }

var errGarbage = errors.New("not a quorate frames port")

// hello is the client's opening.
type hello struct {
	min, max uint16
	cluster  hashring.ClusterID // zero: any
	nonce    [nonceSize]byte
	name     string // of the client, for logs
}

// challenge is the server's answer: who it is, what it allows, and whether it wants
// a proof.
type challenge struct {
	code        Refusal
	version     uint16
	needsProof  bool
	cluster     hashring.ClusterID
	sid         hashring.SID
	nonce       [nonceSize]byte
	maxInFlight uint32
	maxValue    uint32
	node        string
	reason      string // of a refusal
}

// proof is either side's knowledge of the token; the server's comes with a verdict.
type proof struct {
	code   byte
	mac    [macSize]byte
	reason string
}

// begin appends a preface's head; end fills in its length and appends the CRC.
func begin(dst []byte, code byte) []byte {
	return append(append(dst, magic[:]...), prefaceShape, code, 0, 0)
}

func end(dst []byte, at int) []byte {
	binary.BigEndian.PutUint16(dst[at+6:], uint16(len(dst)-at-prefaceHead))
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

func (h *hello) append(dst []byte) []byte {
	at := len(dst)
	dst = begin(dst, codeHello)
	dst = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(dst, h.min), h.max)
	dst = append(append(dst, h.cluster[:]...), h.nonce[:]...)
	dst = appendName(dst, h.name)
	return end(dst, at)
}

func (c *challenge) append(dst []byte) []byte {
	at := len(dst)
	dst = begin(dst, byte(c.code))
	dst = binary.BigEndian.AppendUint16(dst, c.version)
	if c.needsProof {
		dst = append(dst, 1)
	} else {
		dst = append(dst, 0)
	}
	dst = append(append(append(dst, c.cluster[:]...), c.sid[:]...), c.nonce[:]...)
	dst = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(dst, c.maxInFlight), c.maxValue)
	dst = appendName(dst, c.node)
	dst = appendReason(dst, c.reason)
	return end(dst, at)
}

func (p *proof) append(dst []byte) []byte {
	at := len(dst)
	dst = append(begin(dst, p.code), p.mac[:]...)
	dst = appendReason(dst, p.reason)
	return end(dst, at)
}

func appendName(dst []byte, s string) []byte {
	s = s[:min(len(s), maxName)]
	return append(append(dst, byte(len(s))), s...)
}

func appendReason(dst []byte, s string) []byte {
	s = s[:min(len(s), maxReason)]
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// readPreface takes exactly one preface from r and not a byte more. whole is all of
// it, for the transcript. Errors: errGarbage, or those of r.
func readPreface(r io.Reader) (code byte, body, whole []byte, err error) {
	whole = make([]byte, prefaceHead, 256)
	if _, err = io.ReadFull(r, whole); err != nil {
		return 0, nil, nil, err
	}
	n := int(binary.BigEndian.Uint16(whole[6:]))
	if [4]byte(whole[:4]) != magic || whole[4] != prefaceShape || n > maxBody {
		return 0, nil, nil, errGarbage
	}
	whole = append(whole, make([]byte, n+4)...)
	if _, err = io.ReadFull(r, whole[prefaceHead:]); err != nil {
		return 0, nil, nil, err
	}
	sealed := len(whole) - 4
	if crc32.Checksum(whole[:sealed], castagnoli) != binary.BigEndian.Uint32(whole[sealed:]) {
		return 0, nil, nil, fmt.Errorf("%w: the preface fails its checksum", errGarbage)
	}
	return whole[5], whole[prefaceHead:sealed], whole, nil
}

// bodyReader reads the fields of a body; the first that is cut short sticks.
type bodyReader struct {
	b   []byte
	bad bool
}

func (r *bodyReader) take(n int) []byte {
	if len(r.b) < n {
		r.bad, r.b = true, nil
		return make([]byte, n)
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *bodyReader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *bodyReader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }

func (r *bodyReader) name() string { return string(r.take(int(r.take(1)[0]))) }

func (r *bodyReader) reason() string {
	n := int(r.u16())
	if n > maxReason {
		r.bad = true
		return ""
	}
	return string(r.take(n))
}

func (r *bodyReader) err() error {
	if r.bad {
		return fmt.Errorf("%w: a preface that is too short", errGarbage)
	}
	return nil
}

func parseHello(code byte, body []byte) (h hello, err error) {
	if code != codeHello {
		return h, fmt.Errorf("%w: preface %d", errGarbage, code)
	}
	r := bodyReader{b: body}
	h.min, h.max = r.u16(), r.u16()
	copy(h.cluster[:], r.take(16))
	copy(h.nonce[:], r.take(nonceSize))
	h.name = r.name()
	return h, r.err()
}

func parseChallenge(code byte, body []byte) (c challenge, err error) {
	r := bodyReader{b: body}
	c.code, c.version = Refusal(code), r.u16()
	c.needsProof = r.take(1)[0]&1 != 0
	copy(c.cluster[:], r.take(16))
	copy(c.sid[:], r.take(16))
	copy(c.nonce[:], r.take(nonceSize))
	c.maxInFlight, c.maxValue = r.u32(), r.u32()
	c.node, c.reason = r.name(), r.reason()
	return c, r.err()
}

func parseProof(code byte, body []byte) (p proof, err error) {
	r := bodyReader{b: body}
	p.code = code
	copy(p.mac[:], r.take(macSize))
	p.reason = r.reason()
	return p, r.err()
}
