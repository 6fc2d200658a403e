package sim

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// A machine may have several stores in turn. One whose disk is lost, or that is not
// what it was, is set aside, and a new one with an id of its own takes its place
// through the ring (ReplaceStore), as node's lifecycle does it.

// maxStores bounds the stores of a run: they are kept as bits of a word.
const maxStores = 64

// newStore formats a directory on the machine.
func (w *World) newStore(n *node) {
	binary.BigEndian.PutUint64(n.sid[:], w.coreRand.Uint64()|1)
	binary.BigEndian.PutUint64(n.sid[8:], uint64(len(w.sids)+1))
	n.eng, n.store, n.doubted = newEngine(w.draw.Partitions), len(w.sids), false
	n.eng.since, n.back = w.now, false
	n.nonce = w.ctlRand.Uint64() | 1 // of its first start
	w.sids = append(w.sids, n.sid)
	w.bySID[n.sid] = n
	if w.truth.acked != nil {
		clear(w.truth.acked[n.idx]) // its clock is its own
	}
}

// holder is the machine that has the store, nil if it is gone.
func (w *World) holder(sid hashring.SID) *node {
	if n := w.bySID[sid]; n != nil && n.sid == sid {
		return n
	}
	return nil
}

func (n *node) bit() uint64 { return 1 << n.store }

// loseStore: the directory is gone, with all that the store held.
func (n *node) loseStore(how string) {
	w := n.w
	n.kill(true)
	w.note("%s: the store %s is %s", n.name, n.sid.Short(), how)
	w.truth.lost(n, n.eng)
	clear(w.truth.acked[n.idx])
	w.newStore(n)
	w.truth.durable("store loss")
}

// takePlace has a new store take the place of the machine's old one. It may have to
// wait: while it is the last that some partition has, the old one may come back.
func (n *node) takePlace() {
	w, a := n.w, &n.w.auth
	again := func() { n.later(evBoot, bootPoll) }
	var old *hashring.Store
	for i := range a.state.Stores {
		if st := &a.state.Stores[i]; st.Node == n.name && st.State != hashring.StoreRetired {
			old = st
		}
	}
	if old == nil || !a.serves(n) {
		again()
		return
	}
	err := a.apply(hashring.Command{Kind: hashring.KindReplaceStore, ReplaceStore: &hashring.ReplaceStore{Old: old.SID, Boot: old.Boot, Store: n.registration()}})
	switch {
	case err == nil:
		w.note("%s: %s takes the place of %s", n.name, n.sid.Short(), old.SID.Short())
		w.probe.hit(pReplaced)
		if w.ctlRand.IntN(8) == 0 { // and the answer is lost
			again()
			return
		}
		n.registered = true
		n.confirm()
	case errors.Is(err, hashring.ErrLastFull):
		w.probe.hit(pLastFull)
		again()
	default:
		w.violate(Violation{Check: "authority", Kind: "REPLACE", Detail: n.name + ": " + err.Error()})
	}
}

// doubt: the store is not what it was (D4, D6). It is marked suspect; when the ring
// can do without it, it is set aside and a new one formatted.
func (n *node) doubt(why string) {
	w := n.w
	n.kill(false)
	w.note("%s: the store %s is suspect: %s", n.name, n.sid.Short(), why)
	n.doubted = true
	w.do(between(w.ctlRand, 10*time.Millisecond, time.Second), n.setAside)
}

// fallIll: the core has met damage of its store. The driver has it replaced a little
// later; until then it goes on, and counts for nothing where it is damaged.
func (n *node) fallIll(why error) {
	w, store := n.w, n.store
	w.note("%s: %v", n.name, why)
	n.eng.ill = true
	w.do(between(w.ctlRand, 0, 3*time.Second), func() {
		if n.store == store && !n.doubted {
			n.doubt("a strong log or promise is damaged")
		}
	})
}

func (n *node) setAside() {
	w, a := n.w, &n.w.auth
	if !n.doubted {
		return
	}
	again := func() { w.do(between(w.ctlRand, bootPoll, 4*bootPoll), n.setAside) }
	if !a.reachable(n) {
		again()
		return
	}
	if st, ok := a.ringAt(a.state.Version).Store(n.sid); ok && st.State == hashring.StoreUp {
		a.must(hashring.Command{Kind: hashring.KindSetStoreState, SetStoreState: &hashring.SetStoreState{SID: n.sid, State: hashring.StoreSuspect}})
		w.probe.hit(pSuspect)
		again()
		return
	}
	if a.state.LastFull(n.sid) != nil {
		w.probe.hit(pLastFull)
		again()
		return
	}
	n.loseStore("set aside")
	n.start()
}

// canLose tells whether the fault model has room for the loss of a store: all places
// are full, no record is damaged, and nobody else is being replaced.
func (w *World) canLose(n *node) bool {
	s := w.auth.state
	if len(w.sids) >= maxStores || s.LastFull(n.sid) != nil {
		return false
	}
	for _, o := range w.nodes {
		if o.doubted || o.back || o.gone || o.original != nil || o.eng.damaged() > 0 {
			return false
		}
		if st, ok := w.auth.ringAt(s.Version).Store(o.sid); !ok || st.State != hashring.StoreUp {
			return false
		}
	}
	return w.auth.whole() == "" && w.canLoseStrong(n)
}

// whole names a partition that has an owner which is not full; empty: there is none.
func (a *authority) whole() string {
	r := a.ringAt(a.state.Version)
	for p := range a.state.Partitions {
		if _, how := r.Unsettled(uint32(p)); how != "" {
			return how
		}
	}
	return ""
}

// ownDisk is the store's own, also while a copy of it runs.
func (n *node) ownDisk() *engine {
	if n.original != nil {
		return n.original
	}
	return n.eng
}
