package hashring

import (
	"math/big"
	"strings"
	"testing"

	"github.com/spaolacci/murmur3"
	"pgregory.net/rapid"
)

// The library's hash is machine-endian; these are the published vectors of
// MurmurHash3_x64_128 (its first word). Another value here means that this machine
// would look for every key in the wrong place.
func TestMurmurVectors(t *testing.T) {
	for text, want := range map[string]uint64{
		"":                          0,
		"hello":                     0xcbd8a7b341bd9b02,
		"hello, world":              0x342fac623a5ebc8e,
		"19 Jan 2038 at 3:14:07 AM": 0xb89e5988b737affc,
		"The quick brown fox jumps over the lazy dog.": 0xcd99481f9ee902c9,
	} {
		if got := murmur3.Sum64([]byte(text)); got != want {
			t.Errorf("murmur3.Sum64(%q) = %#x, want %#x", text, got, want)
		}
	}
}

// Placement is a format: keys that were written stay where they are.
func TestHashGolden(t *testing.T) {
	for _, c := range []struct {
		bucket, key string
		hash        uint64
		of20, of64  uint32
	}{
		{"default", "", 0xe22f81e69f59426, 1, 3},
		{"default", "a", 0xc15c7de268e7f57b, 15, 48},
		{"default", "b", 0x18c3e1942db78734, 1, 6},
		{"default", "user/1", 0xf9dbda6eb6488040, 19, 62},
		{"orders", "user/1", 0xbb5a5db845cffc3d, 14, 46},
		{"orders", "a//b", 0x83b6035a3405c376, 10, 32},
		{"orders", "\x00\xff", 0x1e9b3413939cf1c6, 2, 7},
		{"b", strings.Repeat("k", 1024), 0xa9b9e4d401284b3b, 13, 42},
	} {
		hash := Hash(c.bucket, []byte(c.key))
		if p20, p64 := PartitionOf(hash, 20), PartitionOf(hash, 64); hash != c.hash || p20 != c.of20 || p64 != c.of64 {
			t.Errorf("{%q, %q, %#x, %d, %d}, not as pinned: %+v", c.bucket, c.key, hash, p20, p64, c)
		}
	}
}

func TestHashIsOfBucketZeroKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bucket := rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,62}`).Draw(t, "bucket")
		key := rapid.SliceOfN(rapid.Byte(), 0, 1300).Draw(t, "key")
		if got, want := Hash(bucket, key), murmur3.Sum64([]byte(bucket+"\x00"+string(key))); got != want {
			t.Fatalf("%#x, want %#x", got, want)
		}
	})
}

func TestPartitionOfIsTheExactQuotient(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hash, n := rapid.Uint64().Draw(t, "hash"), rapid.IntRange(1, MaxPartitions).Draw(t, "partitions")
		want := new(big.Int).Mul(new(big.Int).SetUint64(hash), big.NewInt(int64(n)))
		want.Rsh(want, 64)
		if got := PartitionOf(hash, n); uint64(got) != want.Uint64() {
			t.Fatalf("PartitionOf(%#x, %d) = %d, want %v", hash, n, got, want)
		}
	})
	if got := PartitionOf(^uint64(0), 20); got != 19 {
		t.Errorf("the last hash is in partition %d of 20", got)
	}
	if got := PartitionOf(^uint64(0), 0); got != 0 {
		t.Errorf("without partitions: %d", got)
	}
}

// Keys spread evenly over any number of partitions: within five standard deviations.
func TestKeysSpreadOverPartitions(t *testing.T) {
	const keys, partitions = 200_000, 20
	var count [partitions]int
	key := []byte("user/00000000")
	for i := range keys {
		for d, v := len(key)-1, i; d >= 5; d, v = d-1, v/10 {
			key[d] = byte('0' + v%10)
		}
		count[PartitionOf(Hash("default", key), partitions)]++
	}
	for p, n := range count {
		if n < 9_500 || n > 10_500 {
			t.Errorf("partition %d has %d of %d keys", p, n, keys)
		}
	}
}

func TestHashAllocatesNothing(t *testing.T) {
	key := []byte(strings.Repeat("k", 1024))
	bucket := strings.Repeat("b", MaxName)
	for _, n := range []int{1, 40, 200, 1024} {
		if allocs := testing.AllocsPerRun(100, func() { sink += Hash(bucket, key[:n]) }); allocs != 0 {
			t.Errorf("key of %d bytes: %v allocations", n, allocs)
		}
	}
}

var sink uint64
