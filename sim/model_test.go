package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
	"github.com/quoratedb/quorate/sim/check"
)

// Events happen by time, and those of one time in the order in which they were put in.
func TestQueueOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var want []event
		for _, at := range rapid.SliceOf(rapid.IntRange(0, 5)).Draw(t, "times") {
			q.put(event{at: time.Duration(at)})
			want = append(want, event{at: time.Duration(at), seq: q.seq})
		}
		slices.SortFunc(want, func(a, b event) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.seq, b.seq)) })
		for i := range want {
			if e := q.take(); e.at != want[i].at || e.seq != want[i].seq {
				t.Fatalf("event %d is %v/%d, not %v/%d", i, e.at, e.seq, want[i].at, want[i].seq)
			}
		}
	})
}

// A clock goes on where it was when its rate changes or it stands still, and when is
// the inverse of mono.
func TestClock(t *testing.T) {
	c := newClock(time.Hour)
	if c.mono(0) != time.Hour || c.wallMS(0) != epochMS || c.wallMS(5*time.Second) != epochMS+5000 {
		t.Fatalf("at the start %v and %d", c.mono(0), c.wallMS(0))
	}
	c.setRate(10*time.Second, 0.9)
	if got := c.mono(20 * time.Second); got != time.Hour+19*time.Second {
		t.Errorf("%v after 10 s at full and 10 s at nine tenths of the rate", got)
	}
	for _, d := range []time.Duration{time.Millisecond, time.Second + 7, time.Minute} {
		due := c.mono(20*time.Second) + d
		if at := c.when(due); c.mono(at) < due || c.mono(at-time.Microsecond) >= due {
			t.Errorf("%v is reached at %v, where the clock shows %v", due, at, c.mono(at))
		}
	}
	c.setHalted(30*time.Second, true)
	stood := c.mono(40 * time.Second)
	c.setHalted(40*time.Second, false)
	if stood != c.mono(30*time.Second+1)-0 && stood != time.Hour+28*time.Second {
		t.Errorf("a halted clock shows %v", stood)
	}
	c.offMS = -500
	if got := c.wallMS(40 * time.Second); got != epochMS+28_000-500 {
		t.Errorf("wall clock %d after the halt", got-epochMS)
	}
}

func object(dot uint64, value string) *version.Object {
	d := version.Dot{Actor: 1, Counter: dot}
	return &version.Object{Context: version.Vector{d}, Siblings: []version.Sibling{{Dot: d, Value: []byte(value)}}}
}

// A load gives slices in order, with cursors that go on where the last one ended.
func TestEngineLoads(t *testing.T) {
	e := newEngine(2)
	target := hashring.SID{1}
	b := &core.Batch{}
	for i, k := range []string{"c", "a", "b", "ab"} {
		b.Records = append(b.Records, core.RecordWrite{Partition: 1, Bucket: 7, Key: []byte(k), Object: object(uint64(i+1), k)})
		b.Hints = append(b.Hints, core.HintWrite{Partition: 1, Bucket: 7, Key: []byte(k), Target: target, Gen: uint64(i), Object: object(uint64(i+1), k)})
	}
	b.Records = append(b.Records, core.RecordWrite{Partition: 1, Bucket: 8, Key: []byte("z"), Object: object(9, "z")})
	b.Hints = append(b.Hints, core.HintWrite{Partition: 1, Bucket: 7, Key: []byte("no"), Target: hashring.SID{2}, Object: object(9, "z")})
	e.apply(b)
	walk := func(l core.Load, next func(core.Row) []byte) (keys []string) {
		for {
			page := e.load(&l)
			for _, r := range page.Rows {
				keys = append(keys, string(r.Key))
			}
			if !page.More {
				return keys
			}
			l.After = next(page.Rows[len(page.Rows)-1])
		}
	}
	records := walk(core.Load{Kind: core.LoadRecords, Partition: 1, Bucket: 7, MaxRows: 3, MaxBytes: 1 << 20}, func(r core.Row) []byte { return r.Key })
	hints := walk(core.Load{Kind: core.LoadHints, Partition: 1, Target: target, MaxRows: 1, MaxBytes: 1}, func(r core.Row) []byte { return r.Cursor })
	if got := strings.Join(records, " "); got != "a ab b c" {
		t.Errorf("records %s", got)
	}
	if got := strings.Join(hints, " "); got != "a ab b c" {
		t.Errorf("hints %s", got)
	}
	if err := e.recount(); err == nil {
		t.Error("counters that were never written are not missed")
	}
}

// What died unsynced is gone from some batch on, and nothing before it.
func TestKillKeepsAPrefixOfTheCommit(t *testing.T) {
	seen := map[int]bool{}
	for seed := uint64(1); seed < 60; seed++ {
		w := newWorld(Options{Seed: seed, Nodes: 5, Duration: time.Minute}, quiet())
		n := w.nodes[0]
		n.start()
		s := n.shards[0]
		for i := range uint64(3) {
			s.inFlight = append(s.inFlight, &core.Batch{Seq: i + 1, HLCBound: version.HLC(i + 1)})
		}
		s.pending = []*core.Batch{{Seq: 4, HLCBound: 4}}
		n.kill(false)
		seen[int(n.eng.bound)] = true
	}
	for kept := range 4 {
		if !seen[kept] {
			t.Errorf("never just %d batches of 3", kept)
		}
	}
	if seen[4] {
		t.Error("a batch that no commit had begun was on disk")
	}
}

// A short cut delays; a long one ends the connection, and both ends are told.
func TestConnections(t *testing.T) {
	for _, c := range []struct {
		cut  time.Duration
		want string
	}{{time.Second, "applied"}, {10 * time.Second, "applied"}} {
		var story strings.Builder
		s := newScript(quiet(), Options{Story: &story})
		s.w.cutLink(s.a, s.b, 1)
		call := s.ask(s.a, core.OpPut, "sloppy", "v1", wOf(core.All), within(30*time.Second))
		s.run(c.cut)
		s.w.cutLink(s.a, s.b, -1)
		s.expect(s.wait(call), c.want)
		s.end()
		if f := s.finding(); f != "" {
			t.Errorf("cut for %v: %s", c.cut, f)
		}
		told := strings.Contains(story.String(), s.a.name+" loses its connection to "+s.b.name) &&
			strings.Contains(story.String(), s.b.name+" loses its connection to "+s.a.name)
		if want := c.cut > silentAfter; told != want {
			t.Errorf("cut for %v: both ends told is %v", c.cut, told)
		}
	}
}

// Every class of faults alone, and none: the promises hold, and healing leaves nothing.
func TestEachFaultClass(t *testing.T) {
	for i := range classes {
		c := &classes[i]
		if c.off {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			r, err := Run(Options{Seed: 77, Duration: 90 * time.Second, Faults: []string{c.name}})
			if err != nil || r.Faults == 0 {
				t.Fatalf("%d faults, %v", r.Faults, err)
			}
			for _, v := range r.Violations {
				t.Errorf("%s\n%s", v, r.Replay)
			}
		})
	}
	if r, err := Run(Options{Seed: 77, Duration: time.Minute, Faults: []string{none}}); err != nil || r.Faults != 0 || !r.OK() || r.Outcomes.Unknown > 0 {
		t.Errorf("without faults: %d faults, %+v, %v %v", r.Faults, r.Outcomes, r.Violations, err)
	}
}

func TestEachWorkload(t *testing.T) {
	for _, name := range Workloads() {
		r, err := Run(Options{Seed: 5, Duration: time.Minute, Workloads: []string{name}})
		if err != nil || !r.OK() || r.Operations < 600 || len(r.Options.Workloads) != 1 {
			t.Errorf("%s: %d operations, %v %v\n%s", name, r.Operations, err, r.Violations, r.Replay)
		}
	}
}

func TestOptionsThatCannotWork(t *testing.T) {
	for _, o := range []Options{{Nodes: 65}, {Nodes: -1}, {Duration: time.Millisecond}, {MaxOps: -1}, {Faults: []string{"?"}}, {Workloads: []string{"?"}}} {
		var usage *UsageError
		if _, err := Run(o); !errors.As(err, &usage) {
			t.Errorf("%+v: %v", o, err)
		}
		if err := Campaign(context.Background(), o, 2, func(Result) bool { return true }); !errors.As(err, &usage) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// Every scenario that can be reached has its script, and no number is used twice.
func TestScenarioList(t *testing.T) {
	known := map[string]bool{}
	for _, sc := range Scenarios() {
		if known[sc.ID] {
			t.Errorf("%s stands there twice", sc.ID)
		}
		known[sc.ID] = true
		told := slices.ContainsFunc(stories, func(st story) bool { return slices.Contains(strings.Fields(st.name), sc.ID) })
		if reachable := sc.Later == ""; reachable != (len(sc.needs) > 0) || reachable && !told {
			t.Errorf("%s: later %q, %d probes, a script %v", sc.ID, sc.Later, len(sc.needs), told)
		}
	}
	for _, p := range probeNames {
		if p == "" {
			t.Error("a probe without a name")
		}
	}
}

// A machine that is gone for good is a failure that needs no bug: the cluster does not come to rest.
func TestShrink(t *testing.T) {
	o := Options{Seed: 1, Nodes: 5, Duration: 15 * time.Second, Faults: []string{"gone", "pause", "loss", "kill"}}
	r, err := Run(o)
	for ; err == nil && r.OK() && o.Seed < 20; r, err = Run(o) {
		o.Seed++
	}
	if err != nil || r.OK() {
		t.Fatalf("%v, %v", r.Violations, err)
	}
	s := Shrink(o, r, 30)
	if s.Result.OK() || s.Result.Violations[0].Kind != r.Violations[0].Kind || s.Result.Faults > r.Faults || s.Result.Operations > r.Operations || s.Tries > 30 {
		t.Fatalf("%d faults and %d operations became %d and %d: %v", r.Faults, r.Operations, s.Result.Faults, s.Result.Operations, s.Result.Violations)
	}
	if len(s.Result.FaultList) != 1 || s.Result.FaultList[0].Class != "gone" {
		t.Errorf("left are %v", s.Result.FaultList)
	}
	again, err := Run(s.Options)
	if err != nil || again.TraceHash != s.Result.TraceHash {
		t.Errorf("the smaller run is another one the second time: %v", err)
	}
}

// An eventual bucket is no register, and porcupine sees it; one node alone is one.
func TestEventualIsNotLinearizable(t *testing.T) {
	judge := func(o Options) (n int) {
		o.Duration, o.Workloads, o.KeepHistory = 2*time.Minute, []string{"register"}, true
		for o.Seed = 1; o.Seed <= 8; o.Seed++ {
			r, err := Run(o)
			if err != nil || !r.OK() {
				t.Fatal(err, r.Violations)
			}
			var lww []check.Op
			for _, op := range r.History {
				if op.Bucket == "lww" {
					lww = append(lww, op)
				}
			}
			n += len(check.Registers(lww, check.RegisterOptions{MaxSteps: 20_000}))
		}
		return n
	}
	if n := judge(Options{Nodes: 5, Faults: []string{"halves", "isolate"}}); n == 0 {
		t.Error("five nodes that fall apart look like one register")
	}
	if n := judge(Options{Nodes: 1, Faults: []string{none}}); n != 0 {
		t.Errorf("one node alone looks wrong %d times", n)
	}
}

// The loads of repair walk what is there in slices, each row once, in order.
func TestRepairLoads(t *testing.T) {
	e := newEngine(1)
	batch := &core.Batch{}
	var keys []core.Row
	for i := range 50 {
		key := fmt.Appendf(nil, "k%02d", i)
		o := &version.Object{Context: version.Vector{{Actor: 1, Counter: uint64(i + 1)}}, Siblings: []version.Sibling{{Dot: version.Dot{Actor: 1, Counter: uint64(i + 1)}, Tombstone: i%10 == 0}}}
		batch.Records = append(batch.Records, core.RecordWrite{Bucket: 1, Key: key, Leaf: uint16(i * 7 % 5), Version: o.Hash(), Object: o})
		keys = append(keys, core.Row{Bucket: 1, Key: key})
	}
	e.apply(batch)
	e.parts[0].corrupt = map[recordKey]bool{{1, "k10"}: true}
	walk := func(l core.Load) (out []core.Row) {
		for range 100 {
			got := e.load(&l)
			out = append(out, got.Rows...)
			if !got.More {
				return out
			}
			l.LeafAfter = got.Last
			if l.Kind == core.LoadObjects {
				l.Keys = l.Keys[len(got.Rows):]
			}
		}
		t.Fatal("the walk does not end")
		return nil
	}
	rows := walk(core.Load{Kind: core.LoadLeafRows, MaxRows: 7})
	if len(rows) != 50 || !slices.IsSortedFunc(rows, func(a, b core.Row) int {
		return int(e.parts[0].leaves[recordKey{1, string(a.Key)}].leaf) - int(e.parts[0].leaves[recordKey{1, string(b.Key)}].leaf)
	}) {
		t.Errorf("%d leaf rows", len(rows))
	}
	if rows := walk(core.Load{Kind: core.LoadLeafRows, Leaves: []uint16{1, 3}, MaxRows: 4}); len(rows) != 20 {
		t.Errorf("%d rows of two leaves", len(rows))
	}
	objects := walk(core.Load{Kind: core.LoadObjects, Keys: keys, MaxRows: 9, Brief: true})
	if len(objects) != 50 || !objects[10].Damaged || objects[10].Object != nil || objects[11].Object == nil {
		t.Errorf("%d objects, %+v", len(objects), objects[10])
	}
	if rows := walk(core.Load{Kind: core.LoadPurgeable, MaxRows: 2}); len(rows) != 4 {
		t.Errorf("%d purgeable rows", len(rows))
	}
}
