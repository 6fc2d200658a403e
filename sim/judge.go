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
		ids[ref] = append(ids[ref], w.truth.expiredAndPurged(kt, o)...)
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
	w.found(check.Validate(w.load.history), nil)
	if w.failed() {
		return
	}
	w.found(check.Eventual(kept.lasting.ops, final), kept.lasting.at)
	w.found(check.Causal(kept.siblings.ops, ids), kept.siblings.at)
	w.found(check.StrictReads(kept.steady.ops), kept.steady.at)
	w.found(check.Sessions(kept.steady.ops), kept.steady.at)
	w.judgeStrong(kept.strong)
	w.found(check.SiblingCaps(w.load.history, core.MaxSiblings*len(w.nodes)), nil)
}

// histories are the parts of the history that the checkers are made for.
type histories struct {
	siblings part // buckets that keep siblings, with the versions made inside
	lasting  part // of these where nothing expires
	strong   part // the strong bucket
	steady   part // and where no acked write went with the stores that had it
}

// part of the history, and where each of its operations stands in the whole.
type part struct {
	ops []check.Op
	at  []int
}

func (p *part) add(o check.Op, at int) { p.ops, p.at = append(p.ops, o), append(p.at, at) }

func (w *World) histories() (out histories) {
	expires := map[string]bool{}
	siblings := map[string]bool{}
	late, gone := map[int]bool{}, map[int]bool{}
	hurt := map[check.KeyRef]bool{}
	for _, kt := range w.truth.order {
		b, ok := w.auth.ringAt(w.auth.state.Version).BucketByID(kt.bucket)
		kt.expires = ok && b.TTL > 0
		expires[kt.name], siblings[kt.name] = kt.expires, kt.conflict == hashring.Siblings
		for _, a := range kt.attempts {
			op := &w.load.history[a.op]
			if a.late {
				late[a.op] = true
			}
			if a.forfeit && a.op >= 0 {
				gone[a.op], hurt[check.KeyRef{Bucket: kt.name, Key: kt.key}] = true, true
			}
			op.Mints, op.Resent = a.forHistory(), op.Resent || len(a.mints) > 1
		}
	}
	for i := range w.load.history {
		o := &w.load.history[i]
		if o.Bucket == strongBucket {
			out.strong.add(*o, i)
			continue
		}
		if !siblings[o.Bucket] {
			continue
		}
		seen := *o
		if gone[i] && seen.Outcome == check.OK { // the stores that acked it are lost: nobody promises it
			seen.Outcome = check.Unknown
		}
		out.siblings.add(seen, i)
		if !expires[o.Bucket] {
			if late[i] { // to its client it may take effect at any time, as if it had no answer
				seen.Outcome = check.Unknown
			}
			out.lasting.add(seen, i)
			if !hurt[check.KeyRef{Bucket: o.Bucket, Key: o.Key}] {
				out.steady.add(seen, i)
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

// found takes over what a checker says of a part of the history; at is where the
// part's operations stand in the whole, nil if it was given the whole.
func (w *World) found(list []check.Violation, at []int) {
	for _, v := range list {
		out := Violation{Check: v.Check, Kind: v.Kind, Bucket: v.Bucket, Key: v.Key, Detail: v.Detail}
		for _, i := range v.Ops {
			if at != nil {
				i = at[i]
			}
			out.Ops = append(out.Ops, i)
		}
		w.violate(out)
	}
}

// registerWindows bounds the searches for an order of a strong key's operations; the
// order of versions judges all of them.
var registerWindows = check.RegisterOptions{MaxOps: 200, MaxWindows: 2, MaxKeys: 12, MaxSteps: 20_000}

func (w *World) judgeStrong(p part) {
	w.found(check.VersionOrder(p.ops), p.at)
	w.found(check.Counters(p.ops), p.at)
	w.found(check.Locks(p.ops), p.at)
	if !w.failed() {
		w.found(check.Registers(p.ops, registerWindows), p.at)
	}
}
