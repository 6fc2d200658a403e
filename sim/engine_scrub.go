package sim

import (
	"slices"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// scrubWalkRows is how many rows a slice of a scrub looks at: few, so that scrubs have
// several.
const scrubWalkRows = 64

// loadScrub holds records against their leaf rows, or the other way round; only what
// does not fit comes back.
func (r *rows) loadScrub(l *core.Load) core.Loaded {
	out := core.Loaded{Token: l.Token}
	names := map[hashring.BucketID]string{}
	for _, k := range l.Keys {
		names[k.Bucket] = string(k.Key)
	}
	for _, at := range r.places(l) {
		if out.Walked >= scrubWalkRows {
			out.More = true
			break
		}
		k := recordKey{at.Bucket, string(at.Key)}
		out.Last = at
		out.Walked++
		out.Bytes += uint64(leafRowBytes + len(k.key) + r.records[k].Size())
		name, known := names[k.bucket]
		leaf, indexed := r.leaves[k]
		o := r.records[k]
		right := indexed && o != nil && !r.corrupt[k] && o.Hash() == leaf.version
		if l.Kind == core.LoadScrubRecords {
			right = right && leaf.leaf == core.LeafOf(hashring.Hash(name, at.Key)) || !known
		}
		if right && l.Kind == core.LoadScrubRecords {
			out.Counted.Count(o)
		}
		if !right {
			out.Rows = append(out.Rows, core.Row{Bucket: k.bucket, Key: at.Key, Damaged: true})
		}
	}
	return out
}

// places are those of the rows behind l.LeafAfter, in the order of what it walks.
func (r *rows) places(l *core.Load) (out []antientropy.Pos) {
	if l.Kind == core.LoadScrubRecords {
		for _, k := range r.keys() {
			if at := (antientropy.Pos{Bucket: k.bucket, Key: []byte(k.key)}); at.Compare(l.LeafAfter) > 0 {
				out = append(out, at)
			}
		}
		return out
	}
	for k, leaf := range r.leaves { // order-free: they are sorted
		if at := (antientropy.Pos{Leaf: leaf.leaf, Bucket: k.bucket, Key: []byte(k.key)}); at.Compare(l.LeafAfter) > 0 {
			out = append(out, at)
		}
	}
	slices.SortFunc(out, antientropy.Pos.Compare)
	return out
}
