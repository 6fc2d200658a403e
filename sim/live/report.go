package live

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/sim/check"
)

// Verdicts of a check.
const (
	Holds    = "holds"
	Violated = "VIOLATED"
	Note     = "note" // says something and judges nothing
)

// Verdict is one line of the report.
type Verdict struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"`
	Looked  int    `json:"looked_at"` // operations, or keys
	Detail  string `json:"detail"`
}

// Violation is one broken promise, with the operations that show it, the guilty one
// first.
type Violation struct {
	Check  string   `json:"check"`
	Kind   string   `json:"kind"`
	Key    string   `json:"key,omitempty"` // bucket/key
	Detail string   `json:"detail"`
	Ops    []string `json:"ops,omitempty"`
}

func (v Violation) String() string {
	text := fmt.Sprintf("%s of %s: %s", v.Kind, v.Key, v.Detail)
	if v.Key == "" {
		text = v.Kind + ": " + v.Detail
	}
	for _, o := range v.Ops {
		text += "\n      " + o
	}
	return text
}

// opsShown is how many operations stand with a violation; the history has them all.
const opsShown = 8

// Report is the result of a check.
type Report struct {
	Seed       uint64         `json:"seed"`
	Nodes      int            `json:"nodes"`
	Seconds    float64        `json:"seconds"` // of load
	Healed     float64        `json:"healed_seconds"`
	Operations int            `json:"operations"`
	Outcomes   map[string]int `json:"outcomes"`
	Reads      map[string]int `json:"strong_reads"` // answered ones, by how they say they were done
	Faults     map[string]int `json:"faults"`
	Happened   []string       `json:"happened"`
	Keys       int            `json:"keys"`
	Checks     []Verdict      `json:"checks"`
	Violations []Violation    `json:"violations"`
	Dir        string         `json:"dir,omitempty"` // logs and history, kept
}

// Clean tells whether every promise held.
func (r *Report) Clean() bool {
	return !slices.ContainsFunc(r.Checks, func(v Verdict) bool { return v.Verdict == Violated })
}

// judge holds the history and the final state against every promise.
func (r *run) judge(st *finalState) *Report {
	ops := r.book.ops
	total, by := r.book.counts()
	rep := &Report{Seed: r.o.Seed, Nodes: len(r.servers), Seconds: r.o.Duration.Seconds(), Healed: st.took.Seconds(), Operations: total,
		Outcomes: by, Reads: r.book.how, Faults: map[string]int{}, Happened: []string{}, Keys: len(st.keys), Checks: []Verdict{}, Violations: []Violation{}}
	for _, f := range r.nemesis.done {
		rep.Faults[f.Class]++
		rep.Happened = append(rep.Happened, fmt.Sprintf("%.1fs %v", f.At.Seconds(), f))
	}
	causal, last, strong := r.split(ops)
	finals := func(kind mode) map[check.KeyRef][]string {
		out := maps.Clone(st.values)
		maps.DeleteFunc(out, func(k check.KeyRef, _ []string) bool { return r.mode(k.Bucket) != kind })
		return out
	}
	rep.add("history", ops, "the clients' own record is in order", check.Validate(ops))
	if len(causal)+len(last) > 0 || len(strong) == 0 {
		r.judgeEventual(rep, causal, last, finals)
	}
	if len(strong) > 0 {
		r.judgeStrong(rep, strong, finals(strongMode))
	}
	rep.add("convergence", nil, "all owners of each key hold the same", check.Convergence(st.replicas))
	rep.Checks[len(rep.Checks)-1].Looked = len(st.replicas)
	rep.list("values", len(ops), "every value comes back byte for byte", "DAMAGED", r.book.bad)
	rep.list("rest", len(st.keys), fmt.Sprintf("all nodes ready and all keys read from all owners %.1f s after healing", st.took.Seconds()), "STUCK", r.stuck)
	if r.cluster != nil {
		rep.list("processes", len(r.servers), "no node ended by itself", "ENDED", r.cluster.dead())
	}
	if len(causal) > 0 {
		rep.notLinearizable(causal)
	}
	return rep
}

// judgeEventual holds what keeps siblings, and where the last write wins, against its
// promises.
func (r *run) judgeEventual(rep *Report, causal, last []check.Op, finals func(mode) map[check.KeyRef][]string) {
	rep.add("eventual", causal, "nothing acknowledged is lost, nothing overwritten or deleted comes back", check.Eventual(causal, finals(siblingsMode)))
	rep.add("durability", causal, "every acknowledged write is there or was replaced", check.Durability(causal, finals(siblingsMode)))
	rep.add("strict reads", causal, "reads with R+W>N and owners only see what was acknowledged before", check.StrictReads(causal))
	rep.add("sessions", causal, "no read is behind its token", check.Sessions(causal))
	rep.add("siblings", slices.Concat(causal, last), fmt.Sprintf("no answer shows a value twice, or more than %d", siblingsMax), check.SiblingCaps(slices.Concat(causal, last), siblingsMax))
	rep.add("last write wins", last, "no value that nobody wrote, or whose write was refused; one value at a time", r.lastWrite(last, finals(lwwMode)))
}

// siblingsMax: a coordinator refuses a write that would leave more than MaxSiblings;
// coordinators that do not hear each other each count for themselves.
const siblingsMax = 3 * core.MaxSiblings

// mode is what a bucket promises.
type mode byte

const (
	siblingsMode mode = iota
	lwwMode
	strongMode
)

func (r *run) mode(bucket string) mode {
	for _, a := range r.active {
		switch {
		case a.bucket != bucket:
		case a.strong:
			return strongMode
		case a.name == "lww":
			return lwwMode
		}
	}
	return siblingsMode
}

// is tells whether a bucket is that of a workload.
func (r *run) is(bucket, workload string) bool {
	return slices.ContainsFunc(r.active, func(a *active) bool { return a.bucket == bucket && a.name == workload })
}

// split parts the history: what keeps siblings, where the last write wins, and what is
// linearizable.
func (r *run) split(ops []check.Op) (causal, last, strong []check.Op) {
	for i := range ops {
		switch r.mode(ops[i].Bucket) {
		case lwwMode:
			last = append(last, ops[i])
		case strongMode:
			strong = append(strong, ops[i])
		default:
			causal = append(causal, ops[i])
		}
	}
	return causal, last, strong
}

// lastWrite keeps of the eventual checker what holds where values may go without
// having been replaced by a context.
func (r *run) lastWrite(ops []check.Op, finals map[check.KeyRef][]string) []check.Violation {
	found := check.Eventual(ops, finals)
	found = slices.DeleteFunc(found, func(v check.Violation) bool { return v.Kind == check.Lost || v.Kind == check.Resurrected })
	return append(found, check.SiblingCaps(ops, 1)...)
}

// add is one checker's verdict on a history.
func (r *Report) add(name string, ops []check.Op, promise string, found []check.Violation) {
	var out []Violation
	for _, f := range found {
		v := Violation{Check: name, Kind: f.Kind, Detail: f.Detail}
		if f.Key != "" {
			v.Key = f.Bucket + "/" + f.Key
		}
		for _, i := range f.Ops[:min(len(f.Ops), opsShown)] {
			v.Ops = append(v.Ops, fmt.Sprintf("%s at %s", ops[i].String(), ops[i].Node))
		}
		out = append(out, v)
	}
	r.verdict(name, len(ops), promise, out)
}

// list is a verdict on what was noted during the run.
func (r *Report) list(name string, looked int, promise, kind string, bad []string) {
	var out []Violation
	for _, b := range bad {
		out = append(out, Violation{Check: name, Kind: kind, Detail: b})
	}
	r.verdict(name, looked, promise, out)
}

func (r *Report) verdict(name string, looked int, promise string, found []Violation) {
	v := Verdict{name, Holds, looked, promise}
	if len(found) > 0 {
		v.Verdict, v.Detail = Violated, fmt.Sprintf("%d violations; the first: %s: %s", len(found), found[0].Kind, found[0].Detail)
		r.Violations = append(r.Violations, found...)
	}
	r.Checks = append(r.Checks, v)
}

// Bounds of the search for orders: it is a remark beside the verdicts.
const (
	registerKeys  = 60
	registerSteps = 50_000
)

// notLinearizable shows what eventual mode is not.
func (r *Report) notLinearizable(ops []check.Op) {
	got := check.SearchRegisters(ops, check.RegisterOptions{Plain: true, MaxKeys: registerKeys, MaxWindows: 2, MaxSteps: registerSteps})
	keys := map[check.KeyRef]bool{}
	for _, v := range got.Violations {
		keys[check.KeyRef{Bucket: v.Bucket, Key: v.Key}] = true
	}
	r.Checks = append(r.Checks, Verdict{"linearizable?", Note, got.Ops,
		fmt.Sprintf("%d of %d sampled keys were no linearizable register, and eventual buckets do not promise it", len(keys), got.Keys)})
}

// counts draws outcomes on one line.
func counts(by map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s %d", strings.ReplaceAll(k, "_", " "), by[k]))
	}
	return strings.Join(parts, ", ")
}

// save keeps history, schedule and report beside the logs.
func (r *run) save(rep *Report) error {
	f, err := os.Create(filepath.Join(r.dir, "history.ndjson"))
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	for i := range r.book.ops {
		if err := enc.Encode(&r.book.ops[i]); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for name, doc := range map[string]any{"report.json": rep, "schedule.json": r.nemesis.schedule} {
		text, err := json.MarshalIndent(doc, "", "  ")
		if err == nil {
			err = os.WriteFile(filepath.Join(r.dir, name), text, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return f.Sync()
}

// Length of the load, for people.
func (r *Report) Length() time.Duration { return time.Duration(r.Seconds * float64(time.Second)) }
