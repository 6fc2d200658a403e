package store

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// Kind is what a row of a partition is. The numbers are on disk.
type Kind byte

const (
	KindRecord   Kind = 1  // bucket, key -> object
	KindLeaf     Kind = 2  // leaf, bucket, key -> version hash (D5)
	KindHint     Kind = 3  // target, bucket, key -> generation, object (E3)
	KindCounters Kind = 4  // -> counters
	_            Kind = 5  // tombstone index (E5)
	KindEntry    Kind = 6  // index -> log entry of strong mode that is in no pack
	KindHard     Kind = 7  // -> what a strong partition has promised, and where it stands
	_            Kind = 8  // move checkpoint
	_            Kind = 9  // purge clock and quarantine markers (E6)
	KindValue    Kind = 10 // generation, bucket, key -> value of strong mode
	KindDone     Kind = 11 // generation, stamp, nonce -> completion record of strong mode
	KindPack     Kind = 12 // number -> log entries of any partitions
	KindMeta     Kind = 15
)

// NoPartition holds the rows of the store as a whole: KindPack and KindMeta.
const NoPartition = math.MaxUint32

// Rows of KindMeta, by the byte after the kind.
const (
	metaOwner = 'o' // sid and boot count, to compare with the identity file
	metaHLC   = 'h' // shard, two bytes -> durable bound of its clock (E9)
	metaLog   = 'l' // partition, four bytes -> the first pack whose entries of it count
	metaRing  = 'r' // the last known ring state
)

// All keys begin with partition (4 bytes) and kind (1); numbers are big-endian, so
// that a partition is a range, a bucket in it is one, and a slice of either can be
// walked in key order. Hints put the target first: the store that comes back pulls
// its own hints and walks nobody else's.

func appendHead(dst []byte, p uint32, k Kind) []byte {
	return append(binary.BigEndian.AppendUint32(dst, p), byte(k))
}

func appendBucketKey(dst []byte, b hashring.BucketID, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(b)), key...)
}

func appendRecordKey(dst []byte, p uint32, b hashring.BucketID, key []byte) []byte {
	return appendBucketKey(appendHead(dst, p, KindRecord), b, key)
}

func appendLeafKey(dst []byte, p uint32, leaf uint16, b hashring.BucketID, key []byte) []byte {
	return appendBucketKey(binary.BigEndian.AppendUint16(appendHead(dst, p, KindLeaf), leaf), b, key)
}

func appendHintKey(dst []byte, p uint32, target hashring.SID, b hashring.BucketID, key []byte) []byte {
	return appendBucketKey(append(appendHead(dst, p, KindHint), target[:]...), b, key)
}

func appendCountersKey(dst []byte, p uint32) []byte { return appendHead(dst, p, KindCounters) }

func appendEntryKey(dst []byte, p uint32, index uint64) []byte {
	return binary.BigEndian.AppendUint64(appendHead(dst, p, KindEntry), index)
}

func appendHardKey(dst []byte, p uint32) []byte { return appendHead(dst, p, KindHard) }

// appendGeneration is what all values, or all completion records, of one begin with.
func appendGeneration(dst []byte, p uint32, k Kind, generation uint64) []byte {
	return binary.BigEndian.AppendUint64(appendHead(dst, p, k), generation)
}

func appendValueKey(dst []byte, p uint32, generation uint64, b hashring.BucketID, key []byte) []byte {
	return appendBucketKey(appendGeneration(dst, p, KindValue, generation), b, key)
}

// appendDoneKey puts the stamp first: what expires is a range.
func appendDoneKey(dst []byte, p uint32, generation uint64, id strong.RequestID) []byte {
	dst = binary.BigEndian.AppendUint64(appendGeneration(dst, p, KindDone, generation), uint64(id.StampMS))
	return append(dst, id.Nonce[:]...)
}

func appendMetaKey(dst []byte, what byte, rest ...byte) []byte {
	return append(append(appendHead(dst, NoPartition, KindMeta), what), rest...)
}

func appendMetaLogKey(dst []byte, p uint32) []byte {
	return binary.BigEndian.AppendUint32(appendMetaKey(dst, metaLog), p)
}

// appendPackKey lets packs be walked in the order in which they were written.
func appendPackKey(dst []byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(appendHead(dst, NoPartition, KindPack), number)
}

// Key is a decoded key; which fields are set depends on the kind.
type Key struct {
	Partition uint32
	Kind      Kind
	Leaf      uint16       // KindLeaf
	Target    hashring.SID // KindHint
	Bucket    hashring.BucketID
	Key       []byte // shared with what was decoded
	Meta      []byte // KindMeta

	Index      uint64           // KindEntry; the number of a KindPack
	Generation uint64           // KindValue, KindDone
	ID         strong.RequestID // KindDone
}

// ErrKey is a row that this program does not write.
var ErrKey = errors.New("not a key of this store")

const headSize = 4 + 1

// DecodeKey reads what the append functions wrote.
func DecodeKey(b []byte) (k Key, err error) {
	if len(b) < headSize {
		return k, ErrKey
	}
	k.Partition, k.Kind = binary.BigEndian.Uint32(b), Kind(b[4])
	rest := b[headSize:]
	if (k.Kind == KindMeta || k.Kind == KindPack) != (k.Partition == NoPartition) {
		return Key{}, ErrKey
	}
	switch k.Kind {
	case KindMeta:
		k.Meta = rest
		return k, nil
	case KindCounters, KindHard:
		if len(rest) != 0 {
			return Key{}, ErrKey
		}
		return k, nil
	case KindLeaf:
		if len(rest) < 2 {
			return Key{}, ErrKey
		}
		k.Leaf, rest = binary.BigEndian.Uint16(rest), rest[2:]
	case KindHint:
		rest = rest[copy(k.Target[:], rest):]
	case KindEntry, KindPack:
		if len(rest) != 8 {
			return Key{}, ErrKey
		}
		k.Index = binary.BigEndian.Uint64(rest)
		return k, nil
	case KindDone:
		if len(rest) != 8+8+len(k.ID.Nonce) {
			return Key{}, ErrKey
		}
		k.Generation, k.ID.StampMS = binary.BigEndian.Uint64(rest), int64(binary.BigEndian.Uint64(rest[8:]))
		copy(k.ID.Nonce[:], rest[16:])
		return k, nil
	case KindValue:
		if len(rest) < 8 {
			return Key{}, ErrKey
		}
		k.Generation, rest = binary.BigEndian.Uint64(rest), rest[8:]
	case KindRecord:
	default:
		return Key{}, ErrKey
	}
	if len(rest) < 8 {
		return Key{}, ErrKey
	}
	k.Bucket, k.Key = hashring.BucketID(binary.BigEndian.Uint64(rest)), rest[8:]
	return k, nil
}

// upper is the least key above everything that begins with prefix; nil: none.
func upper(prefix []byte) []byte {
	out := append([]byte(nil), prefix...)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i]++; out[i] != 0 {
			return out[:i+1]
		}
	}
	return nil
}
