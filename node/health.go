package node

import (
	"fmt"
	"sync"
	"time"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/httpapi"
)

// readyWait is how long /readyz waits for members that neither answer nor are
// found down.
const readyWait = 5 * time.Second

// readiness remembers what /readyz needs.
type readiness struct {
	mu        sync.Mutex
	known     time.Time             // when the ring was first known
	settled   map[hashring.SID]bool // reached, or found down
	confirmed bool
}

func (r *readiness) settle(sid hashring.SID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settled == nil {
		r.settled = map[hashring.SID]bool{}
	}
	r.settled[sid] = true
}

func (n *Node) alive(sid hashring.SID) bool {
	v := n.view.Load()
	return v != nil && v.Alive(sid)
}

// seenDead tells that gossip knows the store and holds it for dead.
func (n *Node) seenDead(sid hashring.SID) bool {
	v := n.view.Load()
	if v == nil {
		return false
	}
	_, known := v.Member(sid)
	return known && !v.Alive(sid)
}

func (n *Node) aliveCount() int {
	count := 0
	if v := n.view.Load(); v != nil {
		for _, m := range v.Members {
			if v.Alive(m.SID) {
				count++
			}
		}
	}
	return count
}

// onView passes gossip's opinion on to the shards.
func (n *Node) onView(v *gossip.View) {
	n.view.Store(v)
	alive := make(map[hashring.SID]bool, len(v.Members)+1)
	for _, m := range v.Members {
		alive[m.SID] = v.Alive(m.SID)
	}
	alive[n.self] = true
	n.router.tell(core.Event{View: &core.View{Alive: alive}})
	n.life.onView(v)
}

// onRing passes a newer ring on to the shards; the lifecycle has saved it.
func (n *Node) onRing(ring *hashring.Ring) {
	n.ring.Store(ring)
	n.ready.mu.Lock()
	if ring.HasRing() && n.ready.known.IsZero() {
		n.ready.known = time.Now()
	}
	n.ready.mu.Unlock()
	n.router.tell(core.Event{Ring: ring})
}

// onConfirmed: this boot is known to the cluster, the store answers as an owner (D6).
func (n *Node) onConfirmed() {
	n.ready.mu.Lock()
	n.ready.confirmed = true
	n.ready.mu.Unlock()
	n.router.tell(core.Event{Confirmed: true})
}

// Ready lists what a node needs before it is of use.
func (b backend) Ready() []httpapi.Check {
	n := b.n
	ring := n.ring.Load()
	if ring == nil || !ring.HasRing() {
		return []httpapi.Check{{Name: "ring", Detail: n.life.progress()}}
	}
	n.ready.mu.Lock()
	defer n.ready.mu.Unlock()
	late := time.Since(n.ready.known) > readyWait
	var missing []string
	for i := range ring.Stores {
		st := &ring.Stores[i]
		if st.SID != n.self && st.State != hashring.StoreRetired && !n.ready.settled[st.SID] && !n.seenDead(st.SID) {
			missing = append(missing, st.Node)
		}
	}
	checks := []httpapi.Check{{Name: "ring", OK: true, Detail: fmt.Sprintf("version %d", ring.Version)},
		{Name: "members", OK: len(missing) == 0 || late, Detail: "every member has been reached or found down"},
		{Name: "registered", OK: n.ready.confirmed || late, Detail: "this start is known to the cluster"}}
	if len(missing) > 0 {
		checks[1].Detail = fmt.Sprintf("not reached yet: %v", missing)
	}
	if !n.ready.confirmed {
		checks[2].Detail = "this start is not registered yet: the node coordinates and does not answer as an owner"
	}
	return checks
}
