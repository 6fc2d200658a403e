package load

import (
	"math"
	"math/rand/v2"
)

const (
	keyLen    = 20  // "qbench-" and 13 digits
	largeFrom = 512 // values of this many bytes have keys of their own, "qlarge-"

	zipfTheta = 0.99       // YCSB's
	zipfMax   = 10_000_000 // keys; beyond, the tables would not fit and the choice is uniform
)

// Keyspace picks keys uniformly or by a scrambled zipfian (alias method, O(1)).
// It is read only once made.
type Keyspace struct {
	n     int
	prob  []float64
	alias []int32
	perm  []int32
	fill  []byte
}

// NewKeyspace makes n keys; the same n gives the same order of popularity always.
func NewKeyspace(n int) *Keyspace {
	k := &Keyspace{n: n, fill: make([]byte, valueMax+64)}
	rng := rand.New(rand.NewPCG(42, 42))
	const abc = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range k.fill {
		k.fill[i] = abc[rng.Uint32()&63]
	}
	if n <= zipfMax {
		k.prob, k.alias = aliasTable(zipfWeights(n))
		k.perm = make([]int32, n)
		for i := range k.perm {
			k.perm[i] = int32(i)
		}
		rng.Shuffle(n, func(i, j int) { k.perm[i], k.perm[j] = k.perm[j], k.perm[i] })
	}
	return k
}

// zipfWeights returns the weight of each rank, scaled so that the mean is 1.
func zipfWeights(n int) []float64 {
	w := make([]float64, n)
	var sum float64
	for i := range w {
		w[i] = math.Pow(float64(i+1), -zipfTheta)
		sum += w[i]
	}
	for i := range w {
		w[i] *= float64(n) / sum
	}
	return w
}

// aliasTable is Walker's method as Vose built it: a column is its own rank with
// probability prob, else its alias. It consumes w.
func aliasTable(w []float64) (prob []float64, alias []int32) {
	prob, alias = make([]float64, len(w)), make([]int32, len(w))
	var small, large []int32
	for i := range w {
		if w[i] < 1 {
			small = append(small, int32(i))
		} else {
			large = append(large, int32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		prob[s], alias[s] = w[s], l
		if w[l] -= 1 - w[s]; w[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) {
		prob[i] = 1
	}
	return prob, alias
}

func (k *Keyspace) pick(r *rand.Rand, zipf bool) int {
	i := r.IntN(k.n)
	if !zipf || k.prob == nil {
		return i
	}
	if r.Float64() >= k.prob[i] {
		i = int(k.alias[i])
	}
	return int(k.perm[i])
}

// Key returns key number n as a phase with values of this size uses it.
func (k *Keyspace) Key(n, valueBytes int) []byte {
	b := make([]byte, keyLen)
	k.key(b, n, valueBytes >= largeFrom)
	return b
}

// key writes key number n into dst, which has keyLen bytes.
func (k *Keyspace) key(dst []byte, n int, large bool) {
	copy(dst, "qbench-0000000000000")
	if large {
		copy(dst, "qlarge")
	}
	for i := keyLen - 1; n > 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
}

// value fills dst with the key and then text that does not compress away.
func (k *Keyspace) value(dst, key []byte, r *rand.Rand) {
	n := copy(dst, key)
	if n < len(dst) {
		copy(dst[n:], k.fill[r.IntN(len(k.fill)-(len(dst)-n)+1):])
	}
}
