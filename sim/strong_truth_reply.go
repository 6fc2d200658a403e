package sim

import (
	"fmt"
	"math/bits"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// answered holds an answer against the committed sequence.
func (t *strongTruth) answered(c *call, r *core.Reply) {
	s, sp := c.strong, t.part(c.strong.partition)
	switch {
	case s.read:
		if r.Code != core.OK && r.Code != core.KeyNotFound || r.Strong == nil || r.Strong.Applied == 0 {
			return
		}
		at := r.Strong.Applied
		if int(at) > len(sp.log) {
			t.w.violate(t.about(s, "S9", "a read at %d, and %d entries are committed", at, len(sp.log)))
			return
		}
		if want := sp.valueAt(s.key, at); !sameValue(want, r.Strong.Value) {
			if t.excused(c, r.Strong.Value) {
				c.reply = nil // as good as none
				return
			}
			t.w.violate(t.about(s, "S10", "a read (level %d) at index %d shows %s, the log says %s", s.level, at, drawValue(r.Strong.Value), drawValue(want)))
		}
	case r.Outcome == core.NotApplied && s.copies == 1 && s.at != (strong.Position{}):
		t.w.violate(t.about(s, "S14", "it is answered %v, and took effect at %v", r.Code, s.at))
	case r.Outcome == core.Applied && r.Strong == nil:
		t.w.violate(t.about(s, "FORM", "acked without a version"))
	case r.Outcome == core.Applied:
		v := r.Strong.Version
		if int(v.Index) > len(sp.log) || v.Index == 0 || sp.log[v.Index-1].Epoch != v.Epoch {
			t.w.violate(t.about(s, "S9", "acked as %v, which is not committed (%d entries are)", v, len(sp.log)))
			return
		}
		t.durable(s, c, r, v)
	}
}

// durable: what is acked is on a majority of the disks of each set (D1, S5).
func (t *strongTruth) durable(s *strongTry, c *call, r *core.Reply, v strong.Version) {
	at := strong.Position{Epoch: v.Epoch, Index: v.Index}
	if !t.onMajority(s.partition, at) {
		t.w.violate(t.about(s, "D1", "acked as %v, and no configuration has it on a majority of its disks", v))
	}
	var stores uint64
	for i, sid := range t.w.sids {
		if t.onDisk(s.partition, sid, at) {
			stores |= 1 << i
		}
	}
	if bits.OnesCount64(stores) < r.Receipt.Acks {
		t.w.violate(t.about(s, "D1", "acked as %v with %v, and %d stores have it on disk", v, r.Receipt, bits.OnesCount64(stores)))
	}
}

func (t *strongTruth) about(s *strongTry, kind, format string, args ...any) Violation {
	return Violation{Check: "strong", Kind: kind, Bucket: strongBucket, Key: s.key, Detail: s.name + ": " + fmt.Sprintf(format, args...)}.by(s.op)
}

func drawValue(v *strong.Value) string {
	switch {
	case v == nil:
		return "nothing"
	case v.Tombstone:
		return fmt.Sprintf("a deletion (%v)", v.Version)
	}
	return fmt.Sprintf("%s (%v)", valueName(v.Data), v.Version)
}
