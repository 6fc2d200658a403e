package httpapi

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

const cursorVersion = 1

// cursorText names a place in a bucket's key order: version, bucket id, the last
// key seen, CRC-32C, as base64url. The id is there so that a cursor of a deleted
// bucket is an error in its namesake.
func cursorText(id hashring.BucketID, last []byte) string {
	b := binary.AppendUvarint([]byte{cursorVersion}, uint64(id))
	b = append(b, last...)
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(b, checksum(b)))
}

// parseCursor gives the last key seen.
func parseCursor(text string, id hashring.BucketID) ([]byte, *fault) {
	const most = 1 + binary.MaxVarintLen64 + core.MaxKey + 4
	bad := refuse(codeInvalidArgument, "the cursor is damaged or belongs to another bucket")
	if base64.RawURLEncoding.DecodedLen(len(text)) > most {
		return nil, bad
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 1+1+1+4 || b[0] != cursorVersion {
		return nil, bad
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	of, n := binary.Uvarint(body[1:])
	if checksum(body) != sum || n <= 0 || hashring.BucketID(of) != id {
		return nil, bad
	}
	last := body[1+n:]
	if checkKey(last) != nil {
		return nil, bad
	}
	return last, nil
}
