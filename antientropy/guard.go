package antientropy

import "github.com/quoratedb/quorate/quorum/version"

// Strip is the guard of a full owner (E6): what an incoming object may still bring.
// Siblings at or below the purge clock that the local object does not hold are gone:
// when the clock rose every owner held all of them, so a local object without them
// has seen them replaced. nil: nothing remains and the key is absent, ignore it. The
// context always stays: it can only tell what has been replaced.
//
// The result may be the incoming object. Stand-ins and stores being built do not
// guard; a quarantined key takes its object raw from a full owner.
func Strip(in, local *version.Object, clock version.Vector) *version.Object {
	if in == nil || len(clock) == 0 {
		return in
	}
	gone := 0
	for i := range in.Siblings {
		if stale(&in.Siblings[i], local, clock) {
			gone++
		}
	}
	switch {
	case gone == len(in.Siblings) && local == nil:
		return nil
	case gone == 0:
		return in
	}
	out := &version.Object{Context: in.Context, Siblings: make([]version.Sibling, 0, len(in.Siblings)-gone)}
	for i := range in.Siblings {
		if s := &in.Siblings[i]; !stale(s, local, clock) {
			out.Siblings = append(out.Siblings, *s)
		}
	}
	return out
}

func stale(s *version.Sibling, local *version.Object, clock version.Vector) bool {
	return clock.Covers(s.Dot) && !holds(local, s.Dot)
}

func holds(o *version.Object, d version.Dot) bool {
	if o == nil {
		return false
	}
	for i := range o.Siblings {
		if o.Siblings[i].Dot == d {
			return true
		}
	}
	return false
}

// Purgeable tells whether an owner may drop the key when the purge clock rises to
// clock: only tombstones, and nothing that anybody has seen of it lies above the
// clock. A key written since the round has a dot above, in its context at least.
func Purgeable(o *version.Object, clock version.Vector) bool {
	if o == nil || !clock.Dominates(o.Context) {
		return false
	}
	for i := range o.Siblings {
		if !o.Siblings[i].Tombstone {
			return false
		}
	}
	return true
}

// Expire turns the siblings that had expired at time atMS, the T of a purge commit,
// into tombstones of the same dot (E8). T is the same at all owners, so all convert
// alike, whatever their own clocks say. The result may be o.
func Expire(o *version.Object, atMS int64) *version.Object {
	if o == nil || !expired(o, atMS) {
		return o
	}
	out := &version.Object{Context: o.Context, Siblings: make([]version.Sibling, len(o.Siblings))}
	copy(out.Siblings, o.Siblings)
	for i := range out.Siblings {
		if s := &out.Siblings[i]; expiredSibling(s, atMS) {
			*s = version.Sibling{Dot: s.Dot, HLC: s.HLC, Tombstone: true, Request: s.Request}
		}
	}
	return out
}

func expired(o *version.Object, atMS int64) bool {
	for i := range o.Siblings {
		if expiredSibling(&o.Siblings[i], atMS) {
			return true
		}
	}
	return false
}

func expiredSibling(s *version.Sibling, atMS int64) bool {
	return !s.Tombstone && s.ExpiryMS != 0 && s.ExpiryMS <= atMS
}
