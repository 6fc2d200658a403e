package version

import (
	"math/rand/v2"
	"testing"

	"github.com/spaolacci/murmur3"
)

func TestSum64IsTheLibrarys(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 300)
	for n := range len(b) {
		for range 20 {
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			if got, want := sum64(b[:n]), murmur3.Sum64(b[:n]); got != want {
				t.Fatalf("%d bytes: %x, want %x", n, got, want)
			}
		}
	}
}

func TestHashAllocates(t *testing.T) {
	o := Write(nil, Vector{{1, 2}, {3, 4}}, Sibling{Dot: Dot{Actor: 5, Counter: 6}})
	if n := testing.AllocsPerRun(100, func() { o.Hash() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
