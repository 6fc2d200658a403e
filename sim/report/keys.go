package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/quoratedb/quorate/sim/check"
)

// violationView is a violation with the operations that it cites.
type violationView struct {
	N                        int
	Kind, Check, Where, When string
	Detail                   string
	Ops                      opTable
	Notes                    []string
	KeyID                    string // of the key's own table; empty: it has none
}

// keyView is every operation of a key.
type keyView struct {
	ID, Name string
	Ops      opTable
	Chart    chart
	Note     string
}

// opTable is a table of operations.
type opTable struct {
	Rows     []opView
	Versions bool // there are any
}

func (t *opTable) add(r opView) {
	t.Rows = append(t.Rows, r)
	t.Versions = t.Versions || r.Version != ""
}

// opView is one row.
type opView struct {
	At                    int
	Call, Took            string
	Client, Node          string
	Kind, What, Over      string
	Level, Outcome, Class string
	Version               string
	Cited                 bool
}

// citations are the positions that a violation cites, as far as they are operations of
// its key, and how many are not: those come of another history, and showing them would
// send the reader astray.
func citations(in *Input, v *Violation) (ops []int, astray int) {
	for _, i := range v.Ops[:min(len(v.Ops), maxLooked)] {
		switch {
		case i < 0 || i >= len(in.History), v.Key != "" && in.History[i].Ref() != (check.KeyRef{Bucket: v.Bucket, Key: v.Key}):
			astray++
		default:
			ops = append(ops, i)
		}
	}
	return ops, astray
}

// tell prepares the violations and the keys that they are about.
func (v *view) tell(in *Input) {
	v.Left = max(len(in.Violations)-maxViolations, 0)
	cited := map[int]bool{}
	var keys []check.KeyRef
	met := map[check.KeyRef]bool{}
	for i := range in.Violations {
		x := &in.Violations[i]
		ops, _ := citations(in, x)
		for _, at := range ops {
			cited[at] = true
		}
		if ref := (check.KeyRef{Bucket: x.Bucket, Key: x.Key}); x.Key != "" && !met[ref] {
			met[ref] = true
			if len(keys) < maxKeys {
				keys = append(keys, ref)
			} else {
				v.KeysLeft++
			}
		}
	}
	shown := map[check.KeyRef]string{}
	for _, ref := range keys {
		if k, ok := keyOf(in, ref, cited, len(v.Keys)+1); ok {
			v.Keys = append(v.Keys, k)
			shown[ref] = k.ID
		}
	}
	for i := range in.Violations[:len(in.Violations)-v.Left] {
		x := &in.Violations[i]
		v.Violations = append(v.Violations, violation(in, x, i+1, shown[check.KeyRef{Bucket: x.Bucket, Key: x.Key}]))
	}
}

func violation(in *Input, x *Violation, n int, key string) violationView {
	out := violationView{N: n, Kind: text(x.Kind), Check: text(x.Check), Detail: clip(x.Detail, maxProse), KeyID: key}
	if x.Key != "" {
		out.Where = text(x.Bucket) + "/" + text(x.Key)
	}
	if x.At > 0 {
		out.When = clock(x.At)
	}
	ops, astray := citations(in, x)
	for _, at := range ops[:min(len(ops), maxCited)] {
		out.Ops.add(row(in, at, false))
	}
	if more := len(x.Ops) - astray - len(out.Ops.Rows); more > 0 {
		out.Notes = append(out.Notes, plural(more, "more operation")+" cited.")
	}
	if astray > 0 && len(in.History) > 0 {
		out.Notes = append(out.Notes, plural(astray, "cited position")+" not in this history, or of another key.")
	} else if astray > 0 {
		out.Notes = append(out.Notes, "The operations cited were not kept.")
	}
	return out
}

// keyOf tells a key's operations in the order of their calls: all, or those around the
// cited ones.
func keyOf(in *Input, ref check.KeyRef, cited map[int]bool, n int) (keyView, bool) {
	var all []int
	for i := range in.History {
		if in.History[i].Ref() == ref {
			all = append(all, i)
		}
	}
	slices.SortStableFunc(all, func(a, b int) int { return cmp.Compare(in.History[a].Call, in.History[b].Call) })
	if len(all) == 0 {
		return keyView{}, false
	}
	k := keyView{ID: "key" + strconv.Itoa(n), Name: text(ref.Bucket) + "/" + text(ref.Key)}
	ops := around(all, cited, maxOfKey)
	k.Note = "All " + plural(len(all), "operation") + " of the key, in the order of their calls."
	if len(ops) < len(all) {
		k.Note = fmt.Sprintf("%s of the key's %s: those nearest to what is cited, in the order of their calls.", thousands(len(ops)), plural(len(all), "operation"))
	}
	for _, at := range ops {
		k.Ops.add(row(in, at, cited[at]))
	}
	k.Chart = keyChart(in, around(ops, cited, maxDrawn), cited)
	if k.Chart.Boxes != nil && len(ops) > maxDrawn {
		k.Chart.Notes = append(k.Chart.Notes, fmt.Sprintf("Drawn are the %d operations nearest to what is cited.", maxDrawn))
	}
	return k, true
}

// around picks some operations, the cited ones and their neighbours first.
func around(all []int, cited map[int]bool, most int) []int {
	if len(all) <= most {
		return all
	}
	far := make([]int, len(all)) // from each operation to the nearest that is cited
	last := -len(all)
	for i := range all {
		if cited[all[i]] {
			last = i
		}
		far[i] = i - last
	}
	last = 2 * len(all)
	for i := len(all) - 1; i >= 0; i-- {
		if cited[all[i]] {
			last = i
		}
		far[i] = min(far[i], last-i)
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(far[a], far[b]) })
	order = order[:most]
	slices.Sort(order)
	out := make([]int, len(order))
	for i, at := range order {
		out[i] = all[at]
	}
	return out
}

func row(in *Input, at int, cited bool) opView {
	o := &in.History[at]
	r := opView{At: at, Call: exact(o.Call), Client: strconv.Itoa(o.Client), Node: text(o.Node), Kind: o.Kind.String(), Level: o.Level.String(),
		Outcome: strings.ReplaceAll(o.Outcome.String(), "_", " "), Class: fateLegend[fateOf(o)].Class, Version: text(o.Version), Cited: cited}
	if o.Outcome != check.Unknown && o.Outcome != check.Failed {
		r.Took = clock(o.Return - o.Call)
	}
	switch {
	case o.Kind == check.Read && o.Outcome == check.OK && len(o.Read) == 0:
		r.What = "→ not found"
	case o.Kind == check.Read && o.Outcome == check.OK:
		r.What = "→ " + list(o.Read)
	case o.Kind != check.Read:
		r.What = text(o.Value)
	}
	switch {
	case o.HasContext && len(o.Context) == 0:
		r.Over = "nothing"
	case o.HasContext:
		r.Over = list(o.Context)
	case o.Level == check.Session:
		r.Over = strings.TrimSpace("after " + list(slices.Concat(o.Session, o.SessionGone)))
	}
	return r
}

// exact is a time to the microsecond, for what must be compared.
func exact(t check.Time) string { return fmt.Sprintf("%.6f", t.Seconds()) }
