package sim

import (
	"strconv"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
	"github.com/quoratedb/quorate/sim/check"
)

// judge hands the clients' history to the checkers that anybody can use on any store.
// What the world knows from inside has been held against it already; this is the
// clients' own view of the same run.
func (w *World) judge(left map[check.KeyRef]*version.Object) {
	kept := w.histories()
	final := map[check.KeyRef][]string{}
	ids := map[check.KeyRef][]string{}
	for _, kt := range w.truth.order {
		ref := check.KeyRef{Bucket: kt.name, Key: kt.key}
		o, ok := left[ref]
		if !ok || kt.conflict == hashring.LWW {
			continue
		}
		ids[ref] = []string{}
		if !kt.expires {
			final[ref] = []string{}
		}
		if o == nil {
			continue
		}
		for i := range o.Siblings {
			if m := kt.mints[o.Siblings[i].Dot]; m != nil {
				ids[ref] = append(ids[ref], strconv.Itoa(m.id))
			}
		}
		if !kt.expires {
			for _, s := range o.Live(0) {
				final[ref] = append(final[ref], valueName(s.Value))
			}
		}
	}
	w.found(check.Validate(w.load.history))
	if w.failed() {
		return
	}
	w.found(check.Eventual(kept.lasting, final))
	w.found(check.Causal(kept.siblings, ids))
	w.found(check.StrictReads(kept.lasting))
	w.found(check.Sessions(kept.lasting))
	w.found(check.SiblingCaps(w.load.history, core.MaxSiblings*len(w.nodes)))
}

// histories are the parts of the history that the checkers are made for.
type histories struct {
	siblings []check.Op // buckets that keep siblings, with the versions made inside
	lasting  []check.Op // of these where nothing expires
}

func (w *World) histories() (out histories) {
	expires := map[string]bool{}
	siblings := map[string]bool{}
	late := map[int]bool{}
	for _, kt := range w.truth.order {
		b, ok := w.auth.ringAt(w.auth.state.Version).BucketByID(kt.bucket)
		kt.expires = ok && b.TTL > 0
		expires[kt.name], siblings[kt.name] = kt.expires, kt.conflict == hashring.Siblings
		for _, a := range kt.attempts {
			op := &w.load.history[a.op]
			if a.late {
				late[a.op] = true
			}
			op.Mints, op.Resent = a.forHistory(), op.Resent || len(a.mints) > 1
		}
	}
	for i := range w.load.history {
		o := &w.load.history[i]
		if !siblings[o.Bucket] {
			continue
		}
		out.siblings = append(out.siblings, *o)
		if !expires[o.Bucket] {
			out.lasting = append(out.lasting, *o)
			if late[i] { // to its client it may take effect at any time, as if it had no answer
				out.lasting[len(out.lasting)-1].Outcome = check.Unknown
			}
		}
	}
	return out
}

func (a *attempt) forHistory() []check.Mint {
	if len(a.mints) == 0 {
		return nil
	}
	out := make([]check.Mint, 0, len(a.mints))
	for _, m := range a.mints {
		c := check.Mint{ID: strconv.Itoa(m.id), Acked: m.acked}
		for _, u := range m.covers {
			c.Covers = append(c.Covers, strconv.Itoa(u.id))
		}
		out = append(out, c)
	}
	return out
}

func (w *World) found(list []check.Violation) {
	for _, v := range list {
		w.violate(Violation{Check: v.Check, Kind: v.Kind, Bucket: v.Bucket, Key: v.Key, Detail: v.Detail, Ops: v.Ops})
	}
}
