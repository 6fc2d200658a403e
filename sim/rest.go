package sim

import (
	"fmt"
	"strings"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// What a cluster comes to when faults and clients have stopped: every request is
// answered, every hint delivered, every mark met, every store full, every replica the
// same, and no tombstone is left. Nobody reads meanwhile.

// pending names what keeps the cluster from rest; empty: it is at rest. What is dear
// to find out comes last.
func (w *World) pending() string {
	var out []string
	if n := len(w.load.open); n > 0 {
		out = append(out, fmt.Sprintf("%d client operations", n))
	}
	for _, n := range w.nodes {
		if !n.up || !n.confirmed {
			out = append(out, fmt.Sprintf("%s (up %v, confirmed %v)", n.name, n.up, n.confirmed))
			continue
		}
		out = append(out, n.owing()...)
	}
	ring := w.auth.ringAt(w.auth.state.Version)
	for p := range w.auth.state.Partitions {
		if sid, how := ring.Unsettled(uint32(p)); fills && how != "" {
			out = append(out, fmt.Sprintf("p%d: %s (%s) is %s", p, w.name(sid), sid.Short(), how))
		}
	}
	if len(out) == 0 {
		out = w.strongPending()
	}
	if len(out) == 0 {
		out = w.apart(ring)
	}
	return strings.Join(out, "; ")
}

// owing is what a node has to do still.
func (n *node) owing() (out []string) {
	for p := range n.eng.parts {
		r := &n.eng.parts[p]
		if len(r.hints) > 0 {
			out = append(out, fmt.Sprintf("%s: %d hints in p%d: %s", n.name, len(r.hints), p, n.shards[p%len(n.shards)].core.Pending()))
		}
		for _, l := range r.counters.Hints {
			if l.Dirty != 0 && converges { // exchanges clear marks
				out = append(out, fmt.Sprintf("%s: a mark in p%d for %s", n.name, p, n.w.name(l.Target)))
			}
		}
		if len(r.rotted) > 0 && converges {
			out = append(out, fmt.Sprintf("%s: %d leaf rows in p%d that do not fit", n.name, len(r.rotted), p))
		}
		if len(r.corrupt) > 0 {
			out = append(out, fmt.Sprintf("%s: %d damaged records in p%d", n.name, len(r.corrupt), p))
		}
	}
	if err := n.eng.recount(); err != nil && len(out) == 0 { // after a mending, until a scrub has counted anew
		out = append(out, n.name+": "+err.Error())
	}
	for _, s := range n.shards {
		if st := s.core.Stats(); st.Ops+st.Parked > 0 {
			out = append(out, fmt.Sprintf("%s/%d: %s", n.name, s.idx, s.core.Pending()))
		}
	}
	return out
}

// apart names keys that their owners do not hold alike, and tombstones that wait.
func (w *World) apart(ring *hashring.Ring) []string {
	differ, tombs, first := 0, 0, ""
	for _, kt := range w.truth.order {
		b, ok := ring.BucketByID(kt.bucket)
		if !ok {
			continue
		}
		var one *version.Object
		same, dead := true, false
		for i, sid := range ring.Owners(kt.partition, ring.N(b, kt.partition)) {
			n := w.holder(sid)
			if n == nil {
				continue
			}
			o := n.eng.parts[kt.partition].records[recordKey{kt.bucket, kt.key}]
			if i == 0 {
				one = o
			}
			same = same && version.Same(one, o)
			dead = dead || o != nil && isTombstone(o)
		}
		if !same || dead && purges {
			if first == "" {
				first = fmt.Sprintf("%s/%s in p%d", kt.name, kt.key, kt.partition)
			}
		}
		if !same {
			differ++
		} else if dead {
			tombs++
		}
	}
	var out []string
	if differ > 0 && converges {
		out = append(out, fmt.Sprintf("%d keys that differ between their owners, %s first", differ, first))
	}
	if tombs > 0 && purges {
		out = append(out, fmt.Sprintf("%d keys that are only tombstones, %s first%s", tombs, first, w.drawRounds()))
	}
	return out
}

// converges and purges: what the code under test does by itself.
const (
	converges = true // replicas become alike
	purges    = true // tombstones go
	fills     = true // stores that are being built become full
)

// drawRounds shows what purge rounds wait for.
func (w *World) drawRounds() string {
	var b strings.Builder
	for _, n := range w.nodes {
		for _, s := range n.shards {
			for _, r := range s.core.PurgeStatus().Rows {
				if r.Tombstones > 0 {
					fmt.Fprintf(&b, "; %s leads p%d: %d tombstones, phase %q, %v %s %d", n.name, r.Partition, r.Tombstones, r.Phase, r.Block.Why, w.name(r.Block.Store), r.Block.Count)
				}
			}
		}
	}
	return b.String()
}

// watch looks at what a shard's process has counted, at its end.
func (w *World) watch(s *shard) {
	st := s.core.Stats()
	w.probe.n[pGuarded] += st.Guarded
	w.probe.n[pMended] += st.Repair.Mended
	w.probe.hitIf(st.Purge.Waits() > 0 || st.Purge.Begun > st.Purge.Committed+uint64(st.Purge.Running), pPurgeWaits)
	if damaged := w.probe.n[pFlipped] + w.probe.n[pLeafRot]; damaged == 0 && st.Repair.Recounted+st.Repair.Drift+st.Repair.Mismatched+st.Repair.Damaged > 0 {
		w.violate(Violation{Check: "scrub", Kind: "D5", Detail: fmt.Sprintf("%s: the scrub has found %d wrong counters, %d leaves that had drifted, %d leaf rows in wrong places and %d damaged records, and nothing was damaged",
			s.n.name, st.Repair.Recounted, st.Repair.Drift, st.Repair.Mismatched, st.Repair.Damaged)})
	}
}
