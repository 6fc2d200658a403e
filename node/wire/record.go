package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/quoratedb/quorate/quorum/version"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const recordOverhead = 1 + 4 // format byte, checksum

// AppendRecord appends the stored form of o, which is valid and not nil: format
// byte, object, CRC-32C of both. The checksums of the values travel inside as they
// are; they are for the reader at the far end, this one is for the disk.
func AppendRecord(dst []byte, o *version.Object) []byte {
	from := len(dst)
	dst = AppendObject(append(dst, RecordFormat), o)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// DecodeRecord reads a stored record; its values alias b. Errors: ErrCorrupt when
// the checksum or the shape is wrong (D4: quarantine, never "absent"); a
// *VersionError when the record is whole but of a newer format.
func DecodeRecord(b []byte) (*version.Object, error) {
	if len(b) < recordOverhead {
		return nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return nil, fmt.Errorf("%w: %d bytes, CRC-32C %08x, stored %08x", ErrCorrupt, len(b), got, sum)
	}
	if body[0] != RecordFormat {
		return nil, &VersionError{What: "record", Got: uint16(body[0]), Min: RecordFormat, Max: RecordFormat}
	}
	o, err := DecodeObject(body[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return o, nil
}
