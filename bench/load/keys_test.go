package load

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The alias method against the dumb sum: the most popular key must come up as often
// as its weight says, and the ranks after it in proportion.
func TestZipfFrequencies(t *testing.T) {
	const n, draws = 1000, 400_000
	ks := NewKeyspace(n)
	rng := rand.New(rand.NewPCG(1, 2))
	seen := make([]int, n)
	for range draws {
		seen[ks.pick(rng, true)]++
	}
	var sum float64
	for i := range n {
		sum += math.Pow(float64(i+1), -zipfTheta)
	}
	for _, rank := range []int{0, 1, 9, 99} {
		want := draws * math.Pow(float64(rank+1), -zipfTheta) / sum
		got := float64(seen[ks.perm[rank]])
		if math.Abs(got-want) > 6*math.Sqrt(want) {
			t.Errorf("rank %d: drawn %.0f times, want about %.0f", rank, got, want)
		}
	}
}

func TestUniformReachesAll(t *testing.T) {
	ks := NewKeyspace(50)
	rng := rand.New(rand.NewPCG(1, 2))
	seen := map[int]bool{}
	for range 5000 {
		seen[ks.pick(rng, false)] = true
	}
	if len(seen) != 50 {
		t.Errorf("%d of 50 keys drawn", len(seen))
	}
}

func TestKeyAndValue(t *testing.T) {
	ks := NewKeyspace(10)
	if k := string(ks.Key(7, 80)); k != "qbench-0000000000007" {
		t.Errorf("key %q", k)
	}
	if k := string(ks.Key(1234567890123, 4096)); k != "qlarge-1234567890123" {
		t.Errorf("large key %q", k)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{keyLen, 80, valueMax} {
		v := make([]byte, size)
		ks.value(v, ks.Key(3, 80), rng)
		if string(v[:keyLen]) != "qbench-0000000000003" || size > keyLen && v[size-1] == 0 {
			t.Errorf("value of %d bytes: %.40q ends in %d", size, v, v[size-1])
		}
	}
}

func TestParseStat(t *testing.T) {
	u, s, rss := parseStat("42 (a ) name) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 100 1000000 7 18446744073709551615 1")
	if u != 2.5 || s != 0.5 || rss <= 0 || rss%7 != 0 {
		t.Errorf("user %v sys %v rss %v", u, s, rss)
	}
	if u, s, rss = parseStat("garbage"); u != 0 || s != 0 || rss != 0 {
		t.Errorf("garbage read as %v %v %v", u, s, rss)
	}
}
