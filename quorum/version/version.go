// Package version is causality: dots, version vectors, siblings and their join
// (dotted version vector sets, Preguiça et al. 2012), the hybrid logical clock,
// and the opaque context that clients carry. Pure.
package version

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/quoratedb/quorate/internal/plant"
)

// Actor is one writer of dots: 8 random bytes drawn at every process start (E1).
type Actor uint64

// Dot is one write event: the counter is unique per actor and partition, from 1.
type Dot struct {
	Actor   Actor
	Counter uint64
}

func (d Dot) String() string { return fmt.Sprintf("%08x:%d", uint64(d.Actor)>>32, d.Counter) }

// Compare orders dots by actor, then counter.
func (d Dot) Compare(o Dot) int {
	if c := cmp.Compare(d.Actor, o.Actor); c != 0 {
		return c
	}
	return cmp.Compare(d.Counter, o.Counter)
}

// Vector is a version vector: the highest counter seen of each actor, as dots
// sorted by actor, one each. The nil Vector has seen nothing. Vectors are values:
// no function changes one in place.
type Vector []Dot

// Get is the highest counter seen of a, 0 if none.
func (v Vector) Get(a Actor) uint64 {
	if i, ok := v.find(a); ok {
		return v[i].Counter
	}
	return 0
}

func (v Vector) find(a Actor) (int, bool) {
	// Vectors are short: a scan beats a binary search up to some tens of entries.
	for i := range v {
		if v[i].Actor >= a {
			return i, v[i].Actor == a
		}
	}
	return len(v), false
}

// Covers tells whether d has been seen.
func (v Vector) Covers(d Dot) bool { return d.Counter <= v.Get(d.Actor) }

// Dominates tells whether v has seen everything o has.
func (v Vector) Dominates(o Vector) bool {
	for _, d := range o {
		if !v.Covers(d) {
			return false
		}
	}
	return true
}

// Join is the least vector that dominates both.
func (v Vector) Join(o Vector) Vector {
	if v.Dominates(o) {
		return v
	}
	if o.Dominates(v) {
		return o
	}
	out := make(Vector, 0, len(v)+len(o))
	i, j := 0, 0
	for i < len(v) && j < len(o) {
		switch {
		case v[i].Actor < o[j].Actor:
			out, i = append(out, v[i]), i+1
		case v[i].Actor > o[j].Actor:
			out, j = append(out, o[j]), j+1
		default:
			out = append(out, Dot{v[i].Actor, max(v[i].Counter, o[j].Counter)})
			i, j = i+1, j+1
		}
	}
	return append(append(out, v[i:]...), o[j:]...)
}

// With is Join with the single dot d.
func (v Vector) With(d Dot) Vector { return v.appendWith(nil, d) }

// appendWith is With in room, if that is large enough.
func (v Vector) appendWith(room Vector, d Dot) Vector {
	i, ok := v.find(d.Actor)
	if ok && v[i].Counter >= d.Counter {
		return v
	}
	out := room
	if cap(room) <= len(v) {
		out = make(Vector, 0, len(v)+1)
	}
	out = append(append(out, v[:i]...), d)
	if ok {
		i++
	}
	out = append(out, v[i:]...)
	return out[:len(out):len(out)]
}

// Equal tells whether both have seen the same.
func (v Vector) Equal(o Vector) bool { return slices.Equal(v, o) }

// Valid tells whether v is sorted by actor, without repeats and zero counters:
// what every decoder must check before it hands a vector on.
func (v Vector) Valid() bool {
	for i, d := range v {
		if d.Counter == 0 || i > 0 && v[i-1].Actor >= d.Actor {
			return false
		}
	}
	return true
}

func (v Vector) String() string {
	s := make([]string, len(v))
	for i, d := range v {
		s[i] = d.String()
	}
	return "[" + strings.Join(s, " ") + "]"
}

// RequestID names one client write across re-sends (E16). Zero: none.
type RequestID [16]byte

func (r RequestID) String() string { return hex.EncodeToString(r[:]) }

// IsZero tells whether there is no id.
func (r RequestID) IsZero() bool { return r == RequestID{} }

// Sibling is one value, or one deletion, that nothing has overwritten yet.
type Sibling struct {
	Dot         Dot
	HLC         HLC
	Tombstone   bool
	ExpiryMS    int64 // unix milliseconds, 0: never
	Request     RequestID
	ContentType string
	Value       []byte
	// Sum is the CRC-32C of Value, taken where the value entered the cluster and
	// checked where it leaves it.
	Sum uint32
}

// Object is what a replica holds of a key: everything it has seen (Context) and
// the siblings that are left of it, sorted by dot. Context covers every sibling's
// dot. Objects are values: functions return new ones and share what did not change.
type Object struct {
	Context  Vector
	Siblings []Sibling
}

// Join merges two replicas of a key: a sibling stays if both hold it, or if the
// other side's context has not seen it. Commutative, associative and idempotent.
// A nil object is an absent one. The result may be a or b itself.
func Join(a, b *Object) *Object {
	switch {
	case a == nil || a == b:
		return b
	case b == nil:
		return a
	}
	switch {
	case covers(b, a):
		return b
	case covers(a, b):
		return a
	}
	out := &Object{Context: a.Context.Join(b.Context)}
	keep := make([]Sibling, 0, len(a.Siblings)+len(b.Siblings))
	i, j := 0, 0
	for i < len(a.Siblings) || j < len(b.Siblings) {
		var c int
		switch {
		case i == len(a.Siblings):
			c = 1
		case j == len(b.Siblings):
			c = -1
		default:
			c = a.Siblings[i].Dot.Compare(b.Siblings[j].Dot)
		}
		switch {
		case c == 0:
			keep = append(keep, a.Siblings[i])
			i, j = i+1, j+1
		case c < 0:
			if !b.Context.Covers(a.Siblings[i].Dot) && !(plant.Is(plant.JoinDropsConcurrent) && len(b.Siblings) > 0) || plant.Is(plant.JoinKeepsCovered) {
				keep = append(keep, a.Siblings[i])
			}
			i++
		default:
			if !a.Context.Covers(b.Siblings[j].Dot) {
				keep = append(keep, b.Siblings[j])
			}
			j++
		}
	}
	out.Siblings = keep
	return out
}

// covers tells that joining old into o gives o: o's context has seen all of old's,
// so that siblings of old are left only if o holds them, and o holds none that old
// has seen and lost. What a replica mostly meets: the next version of a key.
func covers(o, old *Object) bool {
	if !o.Context.Dominates(old.Context) || plant.Is(plant.JoinKeepsCovered) {
		return false
	}
	for i := range o.Siblings {
		d := o.Siblings[i].Dot
		if old.Context.Covers(d) && !slices.ContainsFunc(old.Siblings, func(s Sibling) bool { return s.Dot == d }) {
			return false
		}
	}
	return true
}

// small is an object with room for what most objects hold: a few process starts of
// three owners and one sibling. One allocation instead of three.
type small struct {
	object  Object
	context [4]Dot
	sibling [1]Sibling
}

// Write is the object after a client that has seen exactly seen wrote s on top of
// o: siblings that seen covers are gone, s is there, concurrent ones stay.
func Write(o *Object, seen Vector, s Sibling) *Object {
	room := new(small)
	out := &room.object
	out.Siblings = room.sibling[:0]
	if o != nil {
		out.Context = o.Context
		for i := range o.Siblings {
			old := &o.Siblings[i]
			if !seen.Covers(old.Dot) && !(plant.Is(plant.StaleContextWins) && len(seen) > 0) {
				out.Siblings = append(out.Siblings, *old)
			}
		}
	}
	out.Context = out.Context.Join(seen).appendWith(room.context[:0], s.Dot)
	at, _ := slices.BinarySearchFunc(out.Siblings, s.Dot, func(x Sibling, d Dot) int { return x.Dot.Compare(d) })
	out.Siblings = slices.Insert(out.Siblings, at, s)
	return out
}

// Brief is the object without its values: what the answer to a write shows of it.
func (o *Object) Brief() *Object {
	room := new(small)
	out := &room.object
	out.Context, out.Siblings = o.Context, append(room.sibling[:0], o.Siblings...)
	for i := range out.Siblings {
		out.Siblings[i].Value = nil
	}
	return out
}

// ReduceLWW keeps only the newest sibling: the merge order of a last-write-wins
// bucket (E10: HLC, then dot). dropped counts the siblings that were lost by it.
func ReduceLWW(o *Object) (out *Object, dropped int) {
	if o == nil || len(o.Siblings) < 2 {
		return o, 0
	}
	return &Object{Context: o.Context, Siblings: []Sibling{*o.Newest()}}, len(o.Siblings) - 1
}

// Newest is the sibling with the greatest (HLC, dot), nil if there is none.
func (o *Object) Newest() *Sibling {
	var best *Sibling
	if o == nil {
		return nil
	}
	for i := range o.Siblings {
		s := &o.Siblings[i]
		if best == nil || plant.Is(plant.LWWByDot) && s.Dot.Compare(best.Dot) > 0 || s.HLC > best.HLC || s.HLC == best.HLC && s.Dot.Compare(best.Dot) > 0 {
			best = s
		}
	}
	return best
}

// MaxHLC is the greatest stamp among the siblings.
func (o *Object) MaxHLC() (h HLC) {
	if s := o.Newest(); s != nil {
		h = s.HLC
	}
	return h
}

// Same tells whether both objects are the same version: equal contexts and dots.
// Values need no comparison, a dot names one value.
func Same(a, b *Object) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Context.Equal(b.Context) && slices.EqualFunc(a.Siblings, b.Siblings, func(x, y Sibling) bool { return x.Dot == y.Dot })
}

// Size is about the bytes o takes when encoded.
func (o *Object) Size() int {
	if o == nil {
		return 0
	}
	n := 16 + 16*len(o.Context)
	for i := range o.Siblings {
		n += 64 + len(o.Siblings[i].ContentType) + len(o.Siblings[i].Value)
	}
	return n
}

// Valid checks what every decoder must check: a valid context, siblings sorted by
// dot without repeats, each covered by the context.
func (o *Object) Valid() bool {
	if !o.Context.Valid() {
		return false
	}
	for i, s := range o.Siblings {
		if s.Dot.Counter == 0 || !o.Context.Covers(s.Dot) || i > 0 && o.Siblings[i-1].Dot.Compare(s.Dot) >= 0 {
			return false
		}
	}
	return true
}

// String draws the object: context, then siblings, tombstones with a cross.
func (o *Object) String() string {
	if o == nil {
		return "absent"
	}
	var b strings.Builder
	b.WriteString(o.Context.String())
	for _, s := range o.Siblings {
		if s.Tombstone {
			fmt.Fprintf(&b, " %v=x", s.Dot)
		} else {
			fmt.Fprintf(&b, " %v=%q", s.Dot, s.Value)
		}
	}
	return b.String()
}
