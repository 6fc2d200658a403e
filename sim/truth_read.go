package sim

import (
	"fmt"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

// mustSee is what a strict read that begins now has to include: what was acked, and
// what other strict reads have shown (R+W>N; E11).
func (kt *keyTruth) mustSee(steady bool) version.Vector {
	if !steady {
		return kt.ackedSeen
	}
	return kt.ackedSeen.Join(kt.readSeen)
}

// read holds the answer of a read against what it may show and what it must.
func (t *truth) read(kt *keyTruth, c *call, r *core.Reply) {
	if r.Object != nil {
		for i := range r.Object.Siblings {
			d := r.Object.Siblings[i].Dot
			m := kt.mints[d]
			switch {
			case m == nil:
				t.w.violate(t.wrong(kt, "reads", "PHANTOM", "a read shows %v, which nobody minted", d).by(c.op))
			case m.owners|m.stands == 0:
				t.w.violate(t.wrong(kt, "reads", "DIRTY", "a read at %s shows %v (%s), which is on no disk", c.node.name, d, m.by.value).by(c.op, m.by.op))
			}
		}
	}
	t.standIns(kt, c, r)
	t.midPurge(kt)
	t.purgedShown(kt, c, r)
	if r.Code == core.OK && !anyLive(r.Object, c.node.wall()) {
		t.w.violate(t.wrong(kt, "reads", "EXPIRED", "a read at %s shows only what has expired or was deleted: %v", c.node.name, r.Object).by(c.op))
	}
	if c.req.HasAfter && !t.knows(c, r, c.req.After.Seen) {
		t.w.violate(t.wrong(kt, "session", "SESSION", "a read asked for %v and knows %v", c.req.After.Seen, r.Context.Seen).by(c.op))
	}
	if c.strict && kt.strict && !t.knows(c, r, c.mustSee) {
		t.w.violate(t.wrong(kt, "strict", "STALE", "a strict read begun at %v knows %v, acked or shown before was %v", c.began, r.Context.Seen, c.mustSee).by(c.op))
	}
	if c.steady && kt.strict {
		kt.readSeen = kt.readSeen.Join(r.Context.Seen)
	}
}

func anyLive(o *version.Object, wall int64) bool {
	for i := range o.Siblings {
		if s := &o.Siblings[i]; !s.Tombstone && (s.ExpiryMS == 0 || s.ExpiryMS > wall) {
			return true
		}
	}
	return false
}

// standIns: a store outside the owners counts as a reply only for what it holds.
func (t *truth) standIns(kt *keyTruth, c *call, r *core.Reply) {
	if r.Receipt.Fallbacks == 0 {
		return
	}
	held := 0
	for _, n := range t.w.nodes {
		if last, gone := kt.stood[n]; gone && last >= c.began || len(t.holding(n, kt, false)) > 0 {
			held++
		}
	}
	if held < r.Receipt.Fallbacks {
		t.w.violate(t.wrong(kt, "reads", "E6", "a read counts %d stand-ins, and only %d held anything of the key", r.Receipt.Fallbacks, held).by(c.op))
	}
}

// search is one look for explanations: what it has found is not looked for again.
type search struct {
	present func(*mint) bool
	id      int
}

// explained: the version is present, or one that had seen it is, or is explained itself.
func (s *search) explained(m *mint) bool {
	if m.good == s.id {
		return true
	}
	if m.mark == s.id {
		return false // under way, or found wanting
	}
	m.mark = s.id
	if s.present(m) {
		m.good = s.id
		return true
	}
	for i := len(m.coverd) - 1; i >= 0; i-- {
		if s.explained(m.coverd[i]) {
			m.good = s.id
			return true
		}
	}
	return false
}

// account holds what is left of a key against all that was written to it: LOST is an
// acked write that is neither there nor replaced by one that had seen it; RESURRECTED
// is a sibling beside an acked write that had seen it.
func (t *truth) account(kt *keyTruth, last *version.Object, when string) {
	if kt.conflict == hashring.LWW {
		t.accountLWW(kt, last, when)
		return
	}
	present := func(m *mint) bool { return last != nil && holds(last, m.dot) }
	purge := t.w.auth.purge(kt.partition)
	look := search{func(m *mint) bool { return present(m) || purge.settled(m) }, t.w.load.ids()}
	for i := len(kt.attempts) - 1; i >= 0; i-- { // the newest first: they explain the older ones
		a := kt.attempts[i]
		if !a.answered || a.outcome != core.Applied || a.nothing || a.forfeit {
			continue
		}
		kept := false
		for _, m := range a.mints {
			kept = look.explained(m) || kept
		}
		if !kept {
			t.w.violate(t.wrong(kt, when, "LOST", "%s, acked as %v, is gone; left is %v", a.value, a.dots(), last).by(a.op))
			return
		}
		for _, m := range a.mints {
			if !m.acked {
				continue
			}
			for _, c := range m.covers {
				if present(c) && when == "final" {
					t.w.violate(t.wrong(kt, when, "RESURRECTED", "%v (%s) is there, and acked %v (%s) had overwritten it; left is %v", c.dot, c.by.value, m.dot, a.value, last).by(a.op, c.by.op))
					return
				}
			}
		}
	}
}

// accountLWW: what is left is at least as new as every acked write (E10).
func (t *truth) accountLWW(kt *keyTruth, last *version.Object, when string) {
	if last != nil && len(last.Siblings) > 1 {
		t.w.violate(t.wrong(kt, when, "SIBLINGS", "a last-write-wins key has %v", last))
		return
	}
	var newest version.Sibling
	if s := last.Newest(); s != nil {
		newest = *s
	}
	purge := t.w.auth.purge(kt.partition)
	for _, m := range kt.mints { // order-free: the greatest
		if purge.settled(m) && newer(m, &newest) {
			newest = version.Sibling{Dot: m.dot, HLC: m.hlc}
		}
	}
	for _, a := range kt.attempts {
		if !a.answered || a.outcome != core.Applied || a.nothing || a.forfeit {
			continue
		}
		for _, m := range a.mints {
			if m.acked && newer(m, &newest) {
				t.w.violate(t.wrong(kt, when, "LOST", "%s, acked as %v at %d, is newer than what is left: %v", a.value, m.dot, m.hlc, last).by(a.op))
				return
			}
		}
	}
}

func newer(m *mint, than *version.Sibling) bool {
	return than.HLC < m.hlc || than.HLC == m.hlc && than.Dot.Compare(m.dot) < 0
}

func (a *attempt) dots() (out []version.Dot) {
	for _, m := range a.mints {
		out = append(out, m.dot)
	}
	return out
}

// onDisks joins what all stores have of a key on their disks: what would be left if
// all lost power now.
func (t *truth) onDisks(kt *keyTruth) *version.Object {
	var o *version.Object
	for _, n := range t.w.nodes {
		o = version.Join(o, t.inStore(kt, n.eng))
		if n.original != nil {
			o = version.Join(o, t.inStore(kt, n.original))
		}
	}
	if kt.conflict == hashring.LWW {
		o, _ = version.ReduceLWW(o)
	}
	return o
}

// durable holds every key against the disks: acked is never lost, whatever dies.
func (t *truth) durable(when string) {
	for _, kt := range t.order {
		t.account(kt, t.onDisks(kt), when)
		if len(t.w.violations) > 0 {
			return
		}
	}
}

// converged: all owners of the key hold the same version.
func (t *truth) converged(kt *keyTruth, r *hashring.Ring) (*version.Object, bool) {
	b, ok := r.BucketByID(kt.bucket)
	if !ok {
		return nil, false
	}
	var first *version.Object
	for i, sid := range r.Owners(kt.partition, r.N(b, kt.partition)) {
		n := t.w.holder(sid)
		if n == nil {
			t.w.violate(t.wrong(kt, "convergence", "NO_OWNER", "the store %s is lost, and nobody has its place", sid.Short()))
			return nil, false
		}
		o := n.eng.parts[kt.partition].records[recordKey{kt.bucket, kt.key}]
		if i == 0 {
			first = o
		} else if !version.Same(first, o) {
			t.w.violate(t.wrong(kt, "convergence", "DIVERGED", "%s has %v, %s has %v", t.w.bySID[r.Owners(kt.partition, 1)[0]].name, first, n.name, o))
			return nil, false
		}
	}
	return first, true
}

func drawObject(o *version.Object) string {
	if o == nil {
		return ""
	}
	return fmt.Sprintf(" %v", o)
}
