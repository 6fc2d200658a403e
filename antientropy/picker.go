package antientropy

import (
	"slices"

	"github.com/quoratedb/quorate/hashring"
)

// MaxPicked bounds the hints that one sweep drops; the next one goes on.
const MaxPicked = 4096

// Hint names one hint to a Picker.
type Hint struct {
	Bucket hashring.BucketID
	Key    []byte
	Gen    uint64
	Size   uint64
	KeptMS int64 // the wall clock in its generation
}

// Picker finds the hints of a sweep while the line is walked in any order, in slices:
// the oldest ones, by generation.
type Picker struct {
	sweep    Sweep
	picked   []Hint // sorted by generation
	bytes    uint64
	oldestMS int64 // of those that stay
	any      bool
}

// NewPicker begins a walk.
func NewPicker(s Sweep) *Picker { return &Picker{sweep: s} }

// Offer shows one hint of the line.
func (p *Picker) Offer(h Hint) {
	if p.sweep.BeforeMS != 0 {
		if h.KeptMS >= p.sweep.BeforeMS || len(p.picked) >= MaxPicked {
			p.stays(h)
			return
		}
		p.insert(h)
		return
	}
	if p.bytes >= p.sweep.Bytes && len(p.picked) > 0 && h.Gen > p.picked[len(p.picked)-1].Gen {
		p.stays(h)
		return
	}
	p.insert(h)
	for n := len(p.picked) - 1; n > 0; n-- { // give back the youngest that are not needed
		last := p.picked[n]
		if p.bytes-last.Size < p.sweep.Bytes && n < MaxPicked {
			break
		}
		p.picked, p.bytes = p.picked[:n], p.bytes-last.Size
		p.stays(last)
	}
}

func (p *Picker) insert(h Hint) {
	i, _ := slices.BinarySearchFunc(p.picked, h.Gen, func(x Hint, gen uint64) int {
		if x.Gen < gen {
			return -1
		}
		return 1
	})
	p.picked = slices.Insert(p.picked, i, h)
	p.bytes += h.Size
}

func (p *Picker) stays(h Hint) {
	if !p.any || h.KeptMS < p.oldestMS {
		p.any, p.oldestMS = true, h.KeptMS
	}
}

// Picked is what to drop, oldest first, after the walk: each only if its generation is
// still the same; and when the oldest hint that stays was kept.
func (p *Picker) Picked() (drop []Hint, oldestMS int64) { return p.picked, p.oldestMS }
