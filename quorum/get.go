package quorum

import (
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/quorum/version"
)

// Get gathers R replies of one read and joins them. Full owners count with whatever
// they hold, absence included; a fallback counts only for what it holds, since its
// silence about a key says nothing (E6, F46). No other owners are asked.
type Get struct {
	policy    Policy
	after     version.Vector // what the answer must include
	purged    version.Vector // the purge clock
	owners    []hashring.SID // not asked yet, best first
	fallbacks []hashring.SID // not asked yet
	replies   []getReply
	asks      []Ask
	object    *version.Object

	// Room for three owners: one allocation instead of seven.
	ownerRoom [inline]hashring.SID
	replyRoom [inline]getReply
	askRoom   [inline]Ask
}

type getReply struct {
	from     hashring.SID
	fallback bool
	state    answer
	reason   Reason
	object   *version.Object
}

// NewGet plans a read. owners, the full ones, come in the order they should be asked.
// The answer must include after (a session's context; nil: anything will do); if an owner
// is in it, as far as that is above the partition's purge clock, purged: what is not was
// seen by every owner, and where an owner has it no more it was replaced or deleted.
func NewGet(policy Policy, owners, fallbacks []hashring.SID, reachable func(hashring.SID) bool, after, purged version.Vector) *Get {
	g := &Get{policy: policy, after: after, purged: purged, fallbacks: fallbacks}
	g.owners, g.replies, g.asks = g.ownerRoom[:0], g.replyRoom[:0], g.askRoom[:0]
	for _, o := range owners {
		if reachable(o) {
			g.owners = append(g.owners, o)
		} else {
			g.replies = append(g.replies, getReply{from: o, state: failed, reason: ReasonUnreachable})
		}
	}
	for range policy.Need {
		g.More()
	}
	return g
}

// Take returns the stores to ask now and forgets them.
func (g *Get) Take() []Ask {
	a := g.asks
	g.asks = nil // not the room: the caller is still going through it when more come
	return a
}

// More asks one more store: a spare owner, or when there is none a fallback if
// they count. It is called for every failure and for a late reply (hedge).
func (g *Get) More() bool {
	switch {
	case len(g.owners) > 0:
		g.ask(g.owners[0], false)
		g.owners = g.owners[1:]
	case g.policy.Sloppy && len(g.fallbacks) > 0 && !g.allOwnersReplied():
		g.ask(g.fallbacks[0], true)
		g.fallbacks = g.fallbacks[1:]
	default:
		return false
	}
	return true
}

func (g *Get) ask(to hashring.SID, fallback bool) {
	g.replies = append(g.replies, getReply{from: to, fallback: fallback, state: asked})
	a := Ask{To: to}
	if fallback {
		a.Target = to // as a stand-in; whom for does not matter to a read
	}
	g.asks = append(g.asks, a)
}

func (g *Get) allOwnersReplied() bool {
	n := 0
	for i := range g.replies {
		if !g.replies[i].fallback && g.replies[i].state == acked {
			n++
		}
	}
	return n == g.policy.N
}

// Reply: from holds o (nil: nothing).
func (g *Get) Reply(from hashring.SID, o *version.Object) {
	r := g.find(from)
	if r == nil || r.state != asked {
		return
	}
	if r.fallback && g.uncertain(o) && !plant.Is(plant.FallbackAbsence) {
		r.state, r.reason = failed, ReasonNone
		g.More()
		return
	}
	r.state, r.object = acked, o
	g.object = version.Join(g.object, o)
	if g.count(isAcked) >= g.policy.Need && !g.includesAfter() {
		g.More()
	}
}

// uncertain tells that a fallback's object says nothing that an answer may rest on: it
// is none, or has siblings that every owner has held (E6). Those may have been deleted
// since. They cannot be left out by themselves either: the rest would come with a context
// that covers what its reader was not shown.
func (g *Get) uncertain(o *version.Object) bool {
	if o == nil {
		return true
	}
	for i := range o.Siblings {
		if g.purged.Covers(o.Siblings[i].Dot) {
			return true
		}
	}
	return false
}

// above is what of v lies above the clock.
func above(v, clock version.Vector) version.Vector {
	if len(clock) == 0 || len(v) == 0 {
		return v
	}
	out := make(version.Vector, 0, len(v))
	for _, d := range v {
		if !clock.Covers(d) {
			out = append(out, d)
		}
	}
	return out
}

// Fail: from gave no reply that counts; the next store is asked.
func (g *Get) Fail(from hashring.SID, why Reason) {
	if r := g.find(from); r != nil && r.state == asked {
		r.state, r.reason = failed, why
		g.More()
	}
}

func (g *Get) find(from hashring.SID) *getReply {
	for i := range g.replies {
		if g.replies[i].from == from {
			return &g.replies[i]
		}
	}
	return nil
}

func (g *Get) count(in func(answer) bool) (n int) {
	for i := range g.replies {
		if in(g.replies[i].state) {
			n++
		}
	}
	return n
}

// includesAfter tells whether the answer is not behind the session. What the session has
// seen at or below the purge clock is gone where an owner does not have it; that a
// stand-in does not have it says nothing: the clock rises over what lives as well.
func (g *Get) includesAfter() bool {
	switch {
	case len(g.after) == 0 || plant.Is(plant.SessionIgnored):
		return true
	case g.object != nil && g.object.Context.Dominates(g.after):
		return true
	case len(g.purged) == 0 || !g.ownerReplied():
		return false
	}
	rest := above(g.after, g.purged)
	return len(rest) == 0 || g.object != nil && g.object.Context.Dominates(rest)
}

func (g *Get) ownerReplied() bool {
	for i := range g.replies {
		if r := &g.replies[i]; r.state == acked && !r.fallback {
			return true
		}
	}
	return false
}

// Verdict: won with Need replies that together include the session's context.
func (g *Get) Verdict() Verdict {
	if g.count(isAcked) >= g.policy.Need && g.includesAfter() {
		return Won
	}
	if g.count(func(a answer) bool { return a == asked }) == 0 {
		return Lost
	}
	return Pending
}

// Stale tells that a lost read had replies enough and still missed the session's context.
func (g *Get) Stale() bool { return g.count(isAcked) >= g.policy.Need && !g.includesAfter() }

// Object is the join of the replies so far; nil when all were absent.
func (g *Get) Object() *version.Object { return g.object }

// Waiting lists the stores that have been asked and have not answered.
func (g *Get) Waiting() []hashring.SID { return g.AppendWaiting(nil) }

// AppendWaiting appends them to dst.
func (g *Get) AppendWaiting(dst []hashring.SID) []hashring.SID {
	for i := range g.replies {
		if g.replies[i].state == asked {
			dst = append(dst, g.replies[i].from)
		}
	}
	return dst
}

// Behind lists the owners whose reply was older than the object.
func (g *Get) Behind(object *version.Object) (out []hashring.SID) {
	for i := range g.replies {
		if r := &g.replies[i]; r.state == acked && !r.fallback && !version.Same(r.object, object) {
			out = append(out, r.from)
		}
	}
	return out
}

// Abreast lists the owners that replied with just the object.
func (g *Get) Abreast(object *version.Object) (out []hashring.SID) {
	for i := range g.replies {
		if r := &g.replies[i]; r.state == acked && !r.fallback && version.Same(r.object, object) {
			out = append(out, r.from)
		}
	}
	return out
}

// Receipt counts the replies so far.
func (g *Get) Receipt() Receipt {
	r := Receipt{N: g.policy.N, Need: g.policy.Need}
	for i := range g.replies {
		if g.replies[i].state != acked {
			continue
		}
		r.Acks++
		if g.replies[i].fallback {
			r.Fallbacks++
		} else {
			r.Owners++
		}
	}
	return r
}

// Failures lists the stores that gave no reply that counts.
func (g *Get) Failures() (out []Failure) {
	for i := range g.replies {
		switch r := &g.replies[i]; {
		case r.state == failed && r.reason != ReasonNone:
			out = append(out, Failure{r.from, r.reason})
		case r.state == asked:
			out = append(out, Failure{r.from, ReasonTimeout})
		}
	}
	return out
}
