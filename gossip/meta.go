package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/quoratedb/quorate/hashring"
)

// Meta is what a node says of itself in gossip: who it is, where it answers, and
// which ring version it has seen. Ownership is never here (PROTOCOLS.md, 1).
type Meta struct {
	Cluster     hashring.ClusterID // zero: no cluster yet
	SID         hashring.SID
	Node        string
	API         string // host:port
	Peer        string // host:port
	Zone        string
	Version     string // of the program
	Boot        uint64
	RingVersion uint64 // newest ring state this node has
	Feature     uint16 // highest protocol version it speaks
	Expect      uint8  // its --bootstrap-expect
}

// Bounds of the text fields, in bytes. memberlist carries at most 512 bytes; the
// fixed part and all bounds together stay below that, so no field can crowd out
// another.
const (
	MaxNode    = 64
	MaxAddr    = 100
	MaxZone    = 64
	MaxVersion = 48

	metaVersion  = 1
	metaFixed    = 1 + 1 + 16 + 16 + 8 + 8 + 2 + 1
	metaMax      = metaFixed + 5 + MaxNode + 2*MaxAddr + MaxZone + MaxVersion
	flagLeaving  = 1 // said just before a planned stop
	flagsDefined = flagLeaving
)

// ErrMeta is metadata that this version cannot read.
var ErrMeta = errors.New("gossip metadata is malformed")

// FieldError names the field of the metadata that cannot be sent.
type FieldError struct {
	Field      string
	Bytes, Max int
	Reason     string
}

func (e *FieldError) Error() string {
	if e.Reason != "" {
		return fmt.Sprintf("gossip metadata: %s %s", e.Field, e.Reason)
	}
	return fmt.Sprintf("gossip metadata: %s has %d bytes, at most %d fit", e.Field, e.Bytes, e.Max)
}

type textField struct {
	name string
	text *string
	max  int
}

// texts lists the text fields in the order of the encoding.
func (m *Meta) texts() [5]textField {
	return [5]textField{
		{"node name", &m.Node, MaxNode},
		{"API address", &m.API, MaxAddr},
		{"peer address", &m.Peer, MaxAddr},
		{"zone", &m.Zone, MaxZone},
		{"version", &m.Version, MaxVersion},
	}
}

// Check tells which field keeps the metadata from being sent: a *FieldError.
func (m *Meta) Check() error {
	if m.SID.IsZero() {
		return &FieldError{Field: "store id", Reason: "is zero"}
	}
	for _, f := range m.texts() {
		if len(*f.text) > f.max {
			return &FieldError{Field: f.name, Bytes: len(*f.text), Max: f.max}
		}
		if !utf8.ValidString(*f.text) {
			return &FieldError{Field: f.name, Reason: "is not valid UTF-8"}
		}
	}
	return nil
}

// encode gives: version, flags, cluster, sid, boot, ring version, feature, expect,
// then each text with one length byte; big-endian.
func (m *Meta) encode(leaving bool) ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	var flags byte
	if leaving {
		flags |= flagLeaving
	}
	b := make([]byte, 0, metaMax)
	b = append(b, metaVersion, flags)
	b = append(b, m.Cluster[:]...)
	b = append(b, m.SID[:]...)
	b = binary.BigEndian.AppendUint64(b, m.Boot)
	b = binary.BigEndian.AppendUint64(b, m.RingVersion)
	b = binary.BigEndian.AppendUint16(b, m.Feature)
	b = append(b, m.Expect)
	for _, f := range m.texts() {
		b = append(b, byte(len(*f.text)))
		b = append(b, *f.text...)
	}
	return b, nil
}

// decodeMeta is the strict inverse: every byte is accounted for, and what it
// accepts encodes to the same bytes.
func decodeMeta(b []byte) (m Meta, leaving bool, err error) {
	if len(b) < metaFixed {
		return m, false, fmt.Errorf("%w: %d bytes", ErrMeta, len(b))
	}
	if b[0] != metaVersion {
		return m, false, fmt.Errorf("%w: version %d, this program reads %d", ErrMeta, b[0], metaVersion)
	}
	if b[1]&^byte(flagsDefined) != 0 {
		return m, false, fmt.Errorf("%w: unknown flags %#x", ErrMeta, b[1])
	}
	leaving = b[1]&flagLeaving != 0
	copy(m.Cluster[:], b[2:18])
	copy(m.SID[:], b[18:34])
	m.Boot = binary.BigEndian.Uint64(b[34:])
	m.RingVersion = binary.BigEndian.Uint64(b[42:])
	m.Feature = binary.BigEndian.Uint16(b[50:])
	m.Expect = b[52]
	b = b[metaFixed:]
	for _, f := range m.texts() {
		if len(b) == 0 || len(b)-1 < int(b[0]) {
			return Meta{}, false, fmt.Errorf("%w: cut in the %s", ErrMeta, f.name)
		}
		*f.text = string(b[1 : 1+int(b[0])])
		b = b[1+int(b[0]):]
	}
	if len(b) != 0 {
		return Meta{}, false, fmt.Errorf("%w: %d bytes too many", ErrMeta, len(b))
	}
	if err := m.Check(); err != nil {
		return Meta{}, false, fmt.Errorf("%w: %w", ErrMeta, err)
	}
	return m, leaving, nil
}
