package sim

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/version"
)

// delivered notes requests that were planned under an older epoch than their store
// knows: they must be refused.
func (t *truth) delivered(n *node, m *core.Message) {
	var reply core.Kind
	switch m.Kind {
	case core.MsgExchange:
		old := n.ring != nil && int(m.Partition) < len(n.ring.Partitions) && m.Epoch < n.ring.Partitions[m.Partition].PlanEpoch()
		t.w.probe.hitIf(old, pOldExchange)
		t.w.probe.hitIf(t.w.load.boost > 1, pExchangeBusy)
		return
	case core.MsgWrite, core.MsgHint:
		reply = core.MsgWriteAck
	case core.MsgRead:
		reply = core.MsgReadReply
	case core.MsgForward:
		if m.Request != nil && m.Request.Bucket == strongBucket {
			return // it goes by epochs of its own
		}
		reply = core.MsgForwarded
	case core.MsgScan:
		reply = core.MsgScanReply
	default:
		return
	}
	k := staleKey{n.idx, t.w.bySID[m.From].idx, m.Partition, m.ID, reply, m.Target}
	if m.ID == 0 {
		return
	}
	if len(t.stale) >= maxStale {
		t.stale, t.older = map[staleKey]bool{}, t.stale
	}
	old := n.ring != nil && int(m.Partition) < len(n.ring.Partitions) && m.Epoch < n.ring.Partitions[m.Partition].PlanEpoch()
	t.w.probe.hitIf(old, pOldEpoch)
	if was, known := t.planned(k); !known || was {
		t.stale[k] = old
	}
}

// planned tells whether all copies of a request that have come were planned under an
// older epoch. A late copy says nothing of the first one, which may have been in time.
func (t *truth) planned(k staleKey) (old, known bool) {
	if old, known = t.stale[k]; !known {
		old, known = t.older[k]
	}
	return old, known
}

// maxStale bounds what is remembered of requests and their epochs; twice as many are.
const maxStale = 1 << 14

// sent holds the promises of a reply against what the store may promise.
func (t *truth) sent(n *node, m *core.Message) {
	if !m.Kind.IsReply() || m.Reason != quorum.ReasonNone {
		if m.Kind.IsReply() {
			t.w.probe.refused(m)
		}
		return
	}
	if len(t.stale) > 0 {
		k := staleKey{n.idx, t.w.bySID[m.To].idx, m.Partition, m.ID, m.Kind, m.Target}
		if old, _ := t.planned(k); old {
			t.w.violate(Violation{Check: "epoch", Kind: "OLD_EPOCH", Detail: fmt.Sprintf("%s serves a %s that was planned under an older epoch than it knows", n.name, m.Kind)})
		}
	}
	word := m.Kind == core.MsgWriteAck && m.Target.IsZero() || m.Kind == core.MsgReadReply && !m.Fallback
	if m.Kind == core.MsgReadReply && !m.Fallback && n.ring != nil {
		if role, ok := n.ring.Role(m.Partition, n.sid); ok && role != hashring.Full {
			t.w.violate(Violation{Check: "owner", Kind: "NOT_FULL", Detail: fmt.Sprintf("%s answers a read of p%d, where it is %v", n.name, m.Partition, role)})
		}
	}
	if word && !n.confirmed {
		t.w.violate(Violation{Check: "owner", Kind: "UNCONFIRMED", Detail: fmt.Sprintf("%s gives an owner's word (%s) before its start is confirmed", n.name, m.Kind)})
	}
}

func (t *truth) wrong(kt *keyTruth, check, kind, format string, args ...any) Violation {
	return Violation{Check: check, Kind: kind, Bucket: kt.name, Key: kt.key, Detail: fmt.Sprintf(format, args...)}
}

// by names the operations that a violation is about, the guilty one first.
func (v Violation) by(ops ...int) Violation {
	for _, i := range ops {
		if i >= 0 {
			v.Ops = append(v.Ops, i)
		}
	}
	return v
}

// answered holds the answer to a write against what is on disk (D1, E2).
func (t *truth) answered(a *attempt, r *core.Reply, began time.Duration) {
	first := !a.answered
	a.answered, a.outcome, a.nothing, a.seen = true, r.Outcome, r.NothingWritten, r.Context.Seen
	kt := a.key
	for _, m := range a.mints {
		m.acked = r.Outcome == core.Applied && r.Context.Seen.Covers(m.dot)
	}
	switch {
	case r.Outcome == core.NotApplied && len(a.mints) > 0 && first:
		t.w.violate(t.wrong(kt, "outcome", "NOT_APPLIED_YET_DONE", "%s is answered not_applied (%v) and was minted as %v", a.value, r.Code, a.mints[0].dot).by(a.op))
	case r.Outcome != core.Applied || r.NothingWritten:
	default:
		t.onDisk(a, r, began)
	}
	kt.has(&version.Object{}, 0, true) // forget what need not be followed any more
}

func (t *truth) onDisk(a *attempt, r *core.Reply, began time.Duration) {
	kt := a.key
	var best *mint
	for _, m := range a.mints {
		if m.acked {
			best = m
		}
	}
	if best == nil {
		t.w.violate(t.wrong(kt, "durability", "ACKED_NOT_MINTED", "%s is acked, and the answer's context covers no version of it", a.value).by(a.op))
		return
	}
	owners, all := 0, 0
	need, counts := t.counting(a, r)
	a.need = min(a.need, need) // as many may be lost: its coordinator's ring had fewer full owners
	for _, m := range a.mints {
		owners = max(owners, bits.OnesCount64(m.owners&counts))
		all = max(all, bits.OnesCount64(m.owners&counts|m.stands))
	}
	count := all
	if !a.sloppy {
		count = owners
	}
	if count < need || owners < a.pw || count < r.Receipt.Acks {
		t.w.violate(t.wrong(kt, "durability", "ACKED_TOO_EARLY", "%s is acked (need %d, %v); %d owners and %d stores in all have it on disk", a.value, need, r.Receipt, owners, all).by(a.op))
	}
	if by := t.w.bySID[r.ServedBy]; by.up && by.born < began && !by.confirmed && r.Receipt.Owners > bits.OnesCount64(best.owners&^by.bit()) {
		t.w.violate(t.wrong(kt, "owner", "UNCONFIRMED", "%s counts its own copy of %s before its start is confirmed", by.name, a.value).by(a.op))
	}
	i, s := best.at.idx, int(kt.partition)%t.w.draw.Shards
	if !best.copied && best.at.store == best.store { // a copy's clock is not the store's, nor that of the store before
		t.acked[i][s] = max(t.acked[i][s], best.hlc)
	}
	if len(a.mints) == 1 {
		kt.ackedSeen = kt.ackedSeen.With(best.dot)
	}
}
