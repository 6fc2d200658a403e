package strong

import (
	"encoding/binary"

	"github.com/quoratedb/quorate/hashring"
)

// SumOf is what a key adds to the sum over a partition's values (D5): nothing unless
// there is something to read. The data is in it by its checksum. It goes over the wire
// and stays on disks: another form of it needs another feature level.
func SumOf(b hashring.BucketID, key []byte, v *Value) uint64 {
	if !v.Live() {
		return 0
	}
	h := mix(uint64(b), uint64(len(key)))
	for ; len(key) >= 8; key = key[8:] {
		h = mix(h, binary.LittleEndian.Uint64(key))
	}
	var rest [8]byte
	copy(rest[:], key)
	h = mix(h, binary.LittleEndian.Uint64(rest[:]))
	h = mix(h, v.Version.Incarnation)
	h = mix(h, v.Version.Epoch)
	h = mix(h, v.Version.Index)
	return mix(h, uint64(v.Sum)<<32|uint64(len(v.Data)))
}

// mix takes one more word into a hash; every bit of both reaches every bit of it.
func mix(h, word uint64) uint64 {
	h = (h ^ word) * 0x9e3779b97f4a7c15
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>29
}
