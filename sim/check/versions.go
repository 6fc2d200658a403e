package check

import (
	"cmp"
	"slices"
)

// VersionOrder tells whether every key with versions (Op.Version) is linearizable,
// in time n log n and exactly: versions give the order, so nothing has to be searched.
// It reports Disorder, Stale, Duplicate, Phantom, RefusedYetSeen, LostUpdate,
// FalseMismatch and TooManySiblings. Keys without versions are passed over. Where a
// deletion's version is not known, a read that finds nothing can hide behind it.
func VersionOrder(ops []Op) []Violation {
	h := newHistory("versions", ops)
	if h.broken() {
		return h.found.done()
	}
	for _, k := range h.keys {
		first := slices.IndexFunc(h.byKey[k], func(i int) bool { return ops[i].Version != "" })
		if first < 0 {
			continue
		}
		v := &versioned{h: h, key: k, slots: map[stamp]*slot{}, of: map[int]stamp{}}
		_, v.parts, _ = parseVersion(ops[h.byKey[k][first]].Version)
		v.writes()
		v.reads()
		v.sweep()
		v.compareAndSet()
	}
	return h.found.done()
}

// versioned is what is known of the versions of one key.
type versioned struct {
	h      *history
	key    KeyRef
	slots  map[stamp]*slot
	parts  int
	of     map[int]stamp // operation -> version that it wrote or saw
	hidden []int         // deletions whose version is not known, by call
}

// slot is one version.
type slot struct {
	value string // empty: a tombstone
	by    int    // the write, or the read that it was learned from
	call  Time   // of the write
}

func (v *versioned) add(kind string, ops []int, format string, args ...any) {
	v.h.found.add(kind, v.key, ops, format, args...)
}

// writes gives the acked writes their slots.
func (v *versioned) writes() {
	for _, i := range v.h.byKey[v.key] {
		o := &v.h.ops[i]
		if !o.applicable() {
			continue
		}
		s, _, ok := parseVersion(o.Version)
		switch {
		case !ok && o.deletes(): // open, or nothing was there to delete
			v.hidden = append(v.hidden, i)
		case !ok:
		case v.slots[s] != nil:
			v.add(Duplicate, []int{i, v.slots[s].by}, "two writes got version %s", o.Version)
		default:
			v.slots[s] = &slot{o.Value, i, o.Call}
			v.of[i] = s
		}
	}
	slices.SortStableFunc(v.hidden, func(a, b int) int { return cmp.Compare(v.h.ops[a].Call, v.h.ops[b].Call) })
}

// reads fits what was seen into the slots, and learns those of open writes from it.
func (v *versioned) reads() {
	for _, i := range v.h.byKey[v.key] {
		o := &v.h.ops[i]
		if !o.observed() {
			continue
		}
		s, _, ok := parseVersion(o.Version)
		switch {
		case len(o.Read) > 1:
			v.add(TooManySiblings, []int{i}, "a versioned key shows %d values", len(o.Read))
		case len(o.Read) == 1:
			v.value(i, s, ok)
		case ok && o.Kind == Read:
			v.tombstone(i, s)
		case ok: // a refused CAS that tells the version alone
			v.of[i] = s
		}
	}
}

// value fits a read's value; without a version it has that of the value's write.
func (v *versioned) value(i int, s stamp, ok bool) {
	o := &v.h.ops[i]
	if v.h.phantom(v.key, o.Read[0], i) {
		return
	}
	w := v.h.writer[o.Read[0]]
	known, written := v.of[w]
	at := v.slots[s]
	switch {
	case !ok && !written:
		return
	case !ok:
		s = known
	case at != nil && at.value != o.Read[0]:
		v.add(Duplicate, []int{i, at.by}, "version %s is %s here, and %q elsewhere", o.Version, o.Read[0], at.value)
		return
	case written && known != s:
		v.add(Duplicate, []int{i, w}, "%s is version %s here, and another elsewhere: its write took effect twice, or its version changed", o.Read[0], o.Version)
		return
	case at == nil:
		v.slots[s] = &slot{o.Read[0], i, v.h.ops[w].Call}
		v.of[w] = s
	}
	v.of[i] = s
}

// tombstone fits a read that found a deletion and tells its version.
func (v *versioned) tombstone(i int, s stamp) {
	o, at := &v.h.ops[i], v.slots[s]
	switch {
	case at != nil && at.value != "":
		v.add(Duplicate, []int{i, at.by}, "version %s is a deletion here, and %s elsewhere", o.Version, at.value)
		return
	case at == nil && (len(v.hidden) == 0 || v.h.ops[v.hidden[0]].Call > o.Return):
		v.add(Phantom, []int{i}, "version %s is a deletion that nobody asked for", o.Version)
		return
	case at == nil:
		v.slots[s] = &slot{"", i, v.h.ops[v.hidden[0]].Call}
	case at.call > o.Return:
		v.add(Phantom, []int{i, at.by}, "a read that ended at %v shows a deletion called at %v", o.Return, at.call)
		return
	}
	v.of[i] = s
}
