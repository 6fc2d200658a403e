package antientropy

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// Leaves is the number of leaves of a tree, and of the leaf index on disk.
const Leaves = 4096

// LeafOf is the leaf of a key by its placement hash: the low bits, since placement
// uses the high ones.
func LeafOf(hash uint64) uint16 { return uint16(hash % Leaves) }

// EntryHash is what one key adds to its leaf's sum: bucket, the key's placement hash
// and its version hash (Object.Hash). An absent key, version 0, adds 0.
//
// Sums are taken modulo 2^64. Each step of the mix is a bijection, so for one key two
// versions never have one entry: a leaf in which a single key differs always differs.
// Of leaves that differ in several keys one in 2^64 looks equal, and a count of keys
// is compared beside. A sum rather than an xor, because a row that is counted twice
// by mistake must show. 128 bits would double the memory to guard against an enemy
// who can choose the actors of dots, which are random and not his.
func EntryHash(b hashring.BucketID, hash, versionHash uint64) uint64 {
	if versionHash == 0 {
		return 0
	}
	return mix(mix(mix(uint64(b)+0x9e3779b97f4a7c15)+hash) ^ versionHash)
}

// mix is the finaliser of murmur3.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// Row is one key of a partition: a leaf row, an object to ship, or both.
type Row struct {
	Bucket hashring.BucketID
	Key    []byte
	Hash   uint64 // placement hash of bucket name and key; not shipped, the receiver knows it
	// Version is Object.Hash(); 0: the key is absent.
	Version uint64
	Object  *version.Object
	// Damaged: there is a record and it cannot be trusted (D4). It is neither shipped
	// nor taken for absent; its repair is not the exchange's. Version is 0, Object nil.
	Damaged bool
}

// Pos is a place in the order of leaf rows: leaf, bucket, key. The zero Pos lies
// before all rows.
type Pos struct {
	Leaf   uint16
	Bucket hashring.BucketID
	Key    []byte
}

// End lies behind all rows.
var End = Pos{Leaf: Leaves}

// Pos is the row's place.
func (r *Row) Pos() Pos { return Pos{LeafOf(r.Hash), r.Bucket, r.Key} }

// Compare orders places as the leaf index does.
func (p Pos) Compare(o Pos) int {
	return cmp.Or(cmp.Compare(p.Leaf, o.Leaf), cmp.Compare(p.Bucket, o.Bucket), bytes.Compare(p.Key, o.Key))
}

func (p Pos) String() string {
	if p.Leaf >= Leaves {
		return "end"
	}
	return fmt.Sprintf("%d/%d/%q", p.Leaf, p.Bucket, p.Key)
}

// What rows take, in bytes, as the figures of docs/BENCHMARKS.md count them: the
// encoded key and value of a row on disk, without blocks and compression.
const (
	leafRowBytes = 4 + 1 + 2 + 8 + 8 // partition, kind, leaf, bucket; version hash
	recordBytes  = 4 + 1 + 8         // partition, kind, bucket
)

// LeafRowSize is about the bytes of the row's entry in the leaf index.
func (r *Row) LeafRowSize() uint64 { return leafRowBytes + uint64(len(r.Key)) }

// RecordSize is about the bytes of the row's record.
func (r *Row) RecordSize() uint64 {
	if r.Object == nil {
		return 0
	}
	return recordBytes + uint64(len(r.Key)) + uint64(r.Object.Size())
}
