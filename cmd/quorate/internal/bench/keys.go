package bench

import (
	"math"
	"math/rand/v2"
	"strconv"
)

// zipfTheta is YCSB's skew: the first of 100,000 keys gets about 8 % of the requests.
const zipfTheta = 0.99

// chooser draws key indexes in [0, n).
type chooser interface{ next(r *rand.Rand) int }

type uniform struct{ n int }

func (u uniform) next(r *rand.Rand) int { return r.IntN(u.n) }

// zipf is the generator of Gray et al., "Quickly generating billion-record synthetic
// databases" (1994), for theta below 1, which math/rand's cannot do. It is read only
// once made, so workers share it.
type zipf struct {
	n                 int
	alpha, zetan, eta float64
	half              float64 // weight of the second rank
}

func newZipf(n int) zipf {
	zetan := zeta(n)
	z := zipf{n: n, alpha: 1 / (1 - zipfTheta), zetan: zetan, half: 1 + math.Pow(0.5, zipfTheta)}
	z.eta = (1 - math.Pow(2/float64(n), 1-zipfTheta)) / (1 - zeta(2)/zetan)
	return z
}

func zeta(n int) float64 {
	sum := 0.0
	for i := 1; i <= n; i++ {
		sum += 1 / math.Pow(float64(i), zipfTheta)
	}
	return sum
}

func (z zipf) next(r *rand.Rand) int {
	u := r.Float64()
	uz := u * z.zetan
	switch {
	case uz < 1 || z.n == 1:
		return 0
	case uz < z.half || z.n == 2:
		return 1
	}
	return min(z.n-1, int(float64(z.n)*math.Pow(z.eta*u-z.eta+1, z.alpha)))
}

func newChooser(dist string, n int) chooser {
	if dist == Zipfian {
		return newZipf(n)
	}
	return uniform{n}
}

// keyName has a fixed width, so that all keys cost the same.
func keyName(prefix string, i int) string {
	digits := strconv.Itoa(i)
	const width = 8
	for len(digits) < width {
		digits = "0" + digits
	}
	return prefix + digits
}
