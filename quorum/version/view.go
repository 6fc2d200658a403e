package version

import (
	"encoding/binary"
	"slices"

	"github.com/quoratedb/quorate/internal/plant"
)

// Live is what a reader at wall time nowMS is shown: neither tombstones nor
// expired siblings, and of siblings with one request id only the newest (E16:
// a re-sent write may have been minted twice; the stored join keeps both).
// The result is sorted newest first and shares o's siblings.
func (o *Object) Live(nowMS int64) []*Sibling {
	if o == nil {
		return nil
	}
	var out []*Sibling
next:
	for i := range o.Siblings {
		s := &o.Siblings[i]
		if s.Tombstone || s.ExpiryMS != 0 && s.ExpiryMS <= nowMS && !plant.Is(plant.ExpiredShown) {
			continue
		}
		for j, t := range out {
			if !s.Request.IsZero() && s.Request == t.Request {
				if newer(s, t) {
					out[j] = s
				}
				continue next
			}
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *Sibling) int {
		if newer(a, b) {
			return -1
		}
		return 1
	})
	return out
}

// IsLive tells whether a reader at wall time nowMS is shown anything.
func (o *Object) IsLive(nowMS int64) bool {
	if o == nil {
		return false
	}
	for i := range o.Siblings {
		s := &o.Siblings[i]
		if !s.Tombstone && (s.ExpiryMS == 0 || s.ExpiryMS > nowMS || plant.Is(plant.ExpiredShown)) {
			return true
		}
	}
	return false
}

func newer(a, b *Sibling) bool {
	return a.HLC > b.HLC || a.HLC == b.HLC && a.Dot.Compare(b.Dot) > 0
}

// Hash is a 64-bit hash of the object's version, context and dots: equal versions
// hash alike on every replica. 0 is kept for an absent object. It is what leaf
// rows hold (D5) and what an ETag shows.
func (o *Object) Hash() uint64 {
	if o == nil {
		return 0
	}
	var arr [512]byte
	b := arr[:0]
	for _, d := range o.Context {
		b = binary.BigEndian.AppendUint64(b, uint64(d.Actor))
		b = binary.BigEndian.AppendUint64(b, d.Counter)
	}
	b = append(b, 0xff)
	for i := range o.Siblings {
		b = binary.BigEndian.AppendUint64(b, uint64(o.Siblings[i].Dot.Actor))
		b = binary.BigEndian.AppendUint64(b, o.Siblings[i].Dot.Counter)
	}
	if h := sum64(b); h != 0 {
		return h
	}
	return 1
}
