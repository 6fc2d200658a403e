package httpapi

import (
	"fmt"

	"github.com/quoratedb/quorate/hashring"
)

// maxInactive bounds the partitions that /v1/cluster names one by one; Active tells how
// many there are.
const maxInactive = 64

// StrongHealth counts the partitions whose primary serves strong buckets.
type StrongHealth struct {
	Partitions int              `json:"partitions"` // that have a strong configuration: all, once there has been a strong bucket
	Active     int              `json:"active"`     // of them, have an active primary that is alive
	Inactive   []StrongInactive `json:"inactive"`   // the first of the others
}

// StrongInactive is one partition whose strong buckets are not served, and why.
type StrongInactive struct {
	ID      int     `json:"id"`
	Epoch   uint64  `json:"epoch"`
	Primary *string `json:"primary"`
	Why     string  `json:"why"`
}

// StrongHealthOf looks at every partition's strong configuration; alive is gossip's
// opinion, name gives the node of a store. Nil while there is none. Pure.
func StrongHealthOf(r *hashring.Ring, alive func(hashring.SID) bool, name func(hashring.SID) string) *StrongHealth {
	if r == nil {
		return nil
	}
	h := &StrongHealth{Inactive: []StrongInactive{}}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if p.Strong == nil {
			continue
		}
		h.Partitions++
		why := whyInactive(p, alive)
		if why == "" {
			h.Active++
			continue
		}
		if len(h.Inactive) < maxInactive {
			row := StrongInactive{ID: i, Epoch: p.Strong.Epoch, Why: why}
			if !p.Primary.IsZero() {
				node := name(p.Primary)
				row.Primary = &node
			}
			h.Inactive = append(h.Inactive, row)
		}
	}
	if h.Partitions == 0 {
		return nil
	}
	return h
}

// whyInactive says what a partition waits for; "" if nothing.
func whyInactive(p *hashring.Partition, alive func(hashring.SID) bool) string {
	for _, set := range p.Strong.Sets {
		up := 0
		for _, sid := range set {
			if alive(sid) {
				up++
			}
		}
		if need := hashring.Majority(len(set)); up < need {
			return fmt.Sprintf("%d of its %d members are reachable, it needs %d", up, len(set), need)
		}
	}
	switch {
	case p.Primary.IsZero():
		return "it has no primary yet"
	case !alive(p.Primary):
		return "its primary is not reachable; the others will name another one"
	case !p.Strong.Activated:
		return "its primary is taking over"
	}
	return ""
}
