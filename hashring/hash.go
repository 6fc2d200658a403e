package hashring

import (
	"math/bits"
	"unsafe"

	"github.com/spaolacci/murmur3"
)

// hashSmall holds nearly every bucket name and key: a larger stack buffer would be
// zeroed on each call for nothing. hashLarge holds the longest pair the contract
// allows (63 + 1 + 1,024 bytes), so that no request allocates.
const (
	hashSmall = 128
	hashLarge = 1152
)

// Hash places a key: murmur3.Sum64 of bucket, a zero byte, key. The zero byte
// cannot be in a bucket name, so no two pairs share an input.
//
// The result is part of the storage format: golden vectors pin it. Only Sum64 of
// the library is used; its Sum32 crashes under the race detector.
func Hash(bucket string, key []byte) uint64 {
	switch size := len(bucket) + 1 + len(key); {
	case size <= hashSmall:
		var buf [hashSmall]byte
		return murmur3.Sum64(unseen(join(buf[:0], bucket, key)))
	case size <= hashLarge:
		var buf [hashLarge]byte
		return murmur3.Sum64(unseen(join(buf[:0], bucket, key)))
	default:
		return murmur3.Sum64(join(make([]byte, 0, size), bucket, key))
	}
}

func join(b []byte, bucket string, key []byte) []byte {
	b = append(b, bucket...)
	b = append(b, 0)
	return append(b, key...)
}

// unseen hides a slice from escape analysis. Sum64 keeps no reference to its
// argument, but parks it in a struct while it runs, so the compiler would move the
// buffer to the heap: one allocation a request. The result must not outlive b.
// (The road not taken: a murmur3 of our own that takes bucket and key in turn.)
func unseen(b []byte) []byte {
	type header struct {
		data     uintptr
		len, cap int
	}
	h := *(*header)(unsafe.Pointer(&b))
	return *(*[]byte)(unsafe.Pointer(&h))
}

// PartitionOf gives the partition of a hash: the high word of hash * partitions.
// So the arcs are equal (to one in 2^64 / partitions) for any number of
// partitions, power of two or not. With no partitions it is 0.
func PartitionOf(hash uint64, partitions int) uint32 {
	high, _ := bits.Mul64(hash, uint64(partitions))
	return uint32(high)
}
