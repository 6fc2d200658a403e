package node

import (
	"fmt"
	"slices"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/peer"
	"github.com/quoratedb/quorate/node/store"
)

// Rolled-back and copied stores (D6). The boot count alone tells them apart only until
// they have been restarted often enough. So every start draws a nonce, durably, and
// the ring keeps the nonce of the registered start: a store is let in, by Raft or by
// its peers, only if it remembers that one as its own. What is found out once stays
// out: the mark in the identity file ends every later start.

// nonces tells whether the ring known here carries nonces. Older binaries refuse
// messages with members they do not know, so below that level none is sent.
func (l *lifecycle) nonces() bool {
	r := l.ring.Load()
	return r != nil && r.Feature >= hashring.FeatureNonce
}

// nonceNow is this start's nonce as the ring may have it.
func (l *lifecycle) nonceNow() uint64 {
	if l.nonces() {
		return l.nonce
	}
	return 0
}

// foreign tells whether st, this store as it is registered, is a start of another
// directory.
func (l *lifecycle) foreign(st *hashring.Store) bool {
	id := l.cfg.Store.Identity()
	return id.Foreign(st.Boot, st.Nonce)
}

// rolledBack marks the store for good, and says why this process ends.
func (l *lifecycle) rolledBack(newest uint64) error {
	return fmt.Errorf("%w: %w", errRolledBack, l.cfg.Store.SetQuarantine(newest))
}

// remembered are the nonces of this store's starts that may be registered, for an
// introduction; nil below FeatureNonce.
func (l *lifecycle) remembered() []uint64 {
	if !l.nonces() {
		return nil
	}
	starts := l.cfg.Store.Identity().Starts
	out := make([]uint64, len(starts))
	for i, s := range starts {
		out[i] = s.Nonce
	}
	return out
}

// check refuses what no node sends.
func (a *clusterAsk) check() error {
	if len(a.Starts) > store.MaxStarts || slices.Contains(a.Starts, 0) {
		return fmt.Errorf("%w: %d starts", errPayload, len(a.Starts))
	}
	return nil
}

// lineage refuses an asker that does not remember the newest start of its store that
// is known here: the one in the ring, or a later one that has introduced itself and
// is not registered. A refusal is not for ever: this node's ring may be behind, and
// the asker's own, being newer, is what the asker was held to.
func (l *lifecycle) lineage(h peer.Hello, in *clusterAsk) error {
	r := l.ring.Load()
	if r == nil || r.Feature < hashring.FeatureNonce {
		return nil
	}
	var reg hashring.Store
	if st, ok := r.Store(h.SID); ok {
		reg = *st
	}
	if reg.Nonce != 0 && in.Ring <= r.Version && !slices.Contains(in.Starts, reg.Nonce) {
		return otherLineage(h, reg.Boot, "registered")
	}
	if n := len(in.Starts); reg.Nonce != 0 && reg.Boot == h.Boot && n > 0 && in.Starts[n-1] == reg.Nonce {
		return nil // registered: the ring has the last word on who else was seen
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.seen[h.SID]; s.nonce != 0 && s.boot > reg.Boot && !slices.Contains(in.Starts, s.nonce) {
		return otherLineage(h, s.boot, "the newest seen")
	}
	return nil
}

func otherLineage(h peer.Hello, boot uint64, what string) error {
	return fmt.Errorf("boot %d of store %s does not remember boot %d, %s: it was rolled back or cloned", h.Boot, h.SID.Short(), boot, what)
}
