package strong

import "github.com/quoratedb/quorate/internal/plant"

// A scrub that finds values that do not add up to the sum of what was applied makes what
// it has added up the sum (diverge.go). Then the values may be wrong, or the sum was. If
// such a store leads again its sum fits its values, and it must not be the one that
// decides who is right: it remembers what it has found (trust.strayed) until a majority
// shares its sum, or its values are pulled anew. A follower whose sum is what this
// store's was before, and stays so while it adds up its own values too, is right.

// stray takes note of what a scrub has found.
func (t *trust) stray(off uint64) {
	if !plant.Is(plant.StrongStrayForgotten) {
		t.strayed += off
	}
}

// strays tells that a snapshot of the values here must wait for what the others say; not
// for ever, they may be gone.
func (r *Replica) strays() bool {
	return r.trust.strayed != 0 && r.now.Mono < r.lead.began+2*r.opts.Doubt
}

// weighStray looks at what a follower says when the values here have been off.
func (r *Replica) weighStray(p *peer) {
	t, l := &r.trust, r.lead
	switch {
	case t.strayed == 0 || !p.compared:
	case r.cfg.majority(r.offBy(0)):
		t.strayed = 0 // it was the sum
	case p.off != -t.strayed:
	case l.strayAt == 0:
		l.strayAt = max(r.now.Mono, 1)
	case r.now.Mono >= l.strayAt+r.opts.Doubt: // it has had the time to add up its own
		t.broken = true
	}
}
