package node

import (
	"context"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

const (
	// handOverMost bounds the wait for others to take over what this node leads: one
	// commit of the Raft group and one round of the partitions' stores, with room for an
	// election of the group. What is not taken by then is found silent by the others.
	handOverMost = 4 * time.Second
	// handOverLook is the time between two looks at the ring.
	handOverLook = 10 * time.Millisecond
)

// handOver waits until other nodes lead, and serve, the strong partitions whose shards
// have been told to give them up: a planned stop must not cost the time after which a
// primary counts as silent.
func (n *Node) handOver(ctx context.Context) {
	waiting := ledBy(n.ring.Load(), n.self, n.alive)
	if len(waiting) == 0 {
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, handOverMost)
	defer cancel()
	voters := n.life.voters(ctx)
	look := time.NewTicker(handOverLook)
	defer look.Stop()
	left := waiting
	for len(left) > 0 {
		if !canElect(voters, n.self, n.alive) {
			n.log.Warn("this node stops while it leads strong partitions: the Raft group has no majority that could name another primary", "partitions", len(left), "of", len(waiting))
			return
		}
		select {
		case <-ctx.Done():
			n.log.Warn("this node stops while it still leads strong partitions; the others will find it silent", "partitions", len(left), "of", len(waiting))
			return
		case <-look.C:
		}
		left = notTakenOver(n.ring.Load(), left, n.self)
	}
	n.log.Info("other nodes lead what this one did", "partitions", len(waiting), "took_ms", time.Since(began).Milliseconds())
}

// ledBy are the partitions of which sid is the primary and somebody else could be.
func ledBy(r *hashring.Ring, sid hashring.SID, alive func(hashring.SID) bool) (out []uint32) {
	if r == nil {
		return nil
	}
	for p := range uint32(len(r.Partitions)) {
		if r.StrongPrimary(p) != sid {
			continue
		}
		for _, other := range r.StrongMembers(p) {
			if other != sid && alive(other) {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

// notTakenOver are those of the partitions that have no other active primary yet.
func notTakenOver(r *hashring.Ring, partitions []uint32, self hashring.SID) (left []uint32) {
	for _, p := range partitions {
		if c := r.Strong(p); c != nil && (r.StrongPrimary(p) == self || !c.Activated) {
			left = append(left, p)
		}
	}
	return left
}

// canElect tells whether the voters that are alive can choose a leader of the Raft
// group, which names the next primaries. Voters that nobody knows may be able to.
func canElect(voters []hashring.SID, self hashring.SID, alive func(hashring.SID) bool) bool {
	up := 0
	for _, v := range voters {
		if v == self || alive(v) {
			up++
		}
	}
	return len(voters) == 0 || up >= hashring.Majority(len(voters))
}
