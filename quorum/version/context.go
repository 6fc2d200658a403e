package version

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Context is what a client has seen of one key, carried as an opaque token
// between a read and a write. It names its bucket and key, so that a token used
// for another key is an error and not a silent overwrite.
type Context struct {
	Bucket  uint64 // bucket id
	KeyHash uint64 // murmur3 of bucket and key, as for placement
	HLC     HLC    // greatest stamp seen
	Seen    Vector
}

// ErrContext is any token that this package did not make, or that was cut or changed.
var ErrContext = errors.New("the context token is damaged or was not made by quorate")

const (
	contextVersion = 1
	// MaxContextActors bounds a token: a key written through more process starts
	// than this keeps working, but its contexts are refused as input.
	MaxContextActors = 1024
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// tokenText is strict: the unused bits of the last digit are part of the check.
var tokenText = base64.RawURLEncoding.Strict()

// AppendToken appends the token's text: base64url of version, fields and CRC-32C.
func (c Context) AppendToken(dst []byte) []byte {
	var arr [256]byte
	b := append(arr[:0], contextVersion)
	b = binary.AppendUvarint(b, c.Bucket)
	b = binary.BigEndian.AppendUint64(b, c.KeyHash)
	b = binary.AppendUvarint(b, uint64(c.HLC))
	b = binary.AppendUvarint(b, uint64(len(c.Seen)))
	for _, d := range c.Seen {
		b = binary.BigEndian.AppendUint64(b, uint64(d.Actor))
		b = binary.AppendUvarint(b, d.Counter)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return tokenText.AppendEncode(dst, b)
}

// Token is AppendToken as a string.
func (c Context) Token() string { return string(c.AppendToken(nil)) }

// ParseContext reads a token; every error is ErrContext.
func ParseContext(token string) (c Context, err error) {
	b, err := tokenText.DecodeString(token)
	if err != nil || tokenText.EncodedLen(len(b)) != len(token) || len(b) < 5 || b[0] != contextVersion { // line breaks are skipped silently
		return c, ErrContext
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return c, ErrContext
	}
	d := decoder{b: body[1:]}
	c.Bucket = d.uvarint()
	c.KeyHash = d.fixed64()
	c.HLC = HLC(d.uvarint())
	n := d.uvarint()
	if d.bad || n > MaxContextActors || n > uint64(len(d.b)) {
		return Context{}, ErrContext
	}
	c.Seen = make(Vector, 0, n)
	for range n {
		c.Seen = append(c.Seen, Dot{Actor(d.fixed64()), d.uvarint()})
	}
	if d.bad || len(d.b) != 0 || !c.Seen.Valid() {
		return Context{}, ErrContext
	}
	return c, nil
}

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) fixed64() uint64 {
	if len(d.b) < 8 {
		d.bad, d.b = true, nil
		return 0
	}
	v := binary.BigEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}
