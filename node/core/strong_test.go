package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

func at(l Level) opt               { return func(r *Request) { r.Level = l } }
func ifMatch(v strong.Version) opt { return func(r *Request) { r.If.IfMatch = v } }
func ifAbsent(r *Request)          { r.If.IfNoneMatch = true }
func by(n int64) opt               { return func(r *Request) { r.Delta = n } }
func (w *strongWorld) key(n byte) opt {
	stamp := w.wall()
	return func(r *Request) { r.StrongID = strong.RequestID{StampMS: stamp, Nonce: [16]byte{n}} }
}

func (w *strongWorld) count(at, bucket, key string, opts ...opt) *Reply {
	w.t.Helper()
	return w.do(w.node(at), w.request(OpIncrement, bucket, key, "", opts))
}

// strongShow draws a reply of a strong bucket.
func strongShow(r *Reply) string {
	if r == nil {
		return "nothing"
	}
	var out []string
	if r.Code != OK {
		out = append(out, r.Code.String())
	}
	if r.Outcome != OutcomeNone {
		out = append(out, r.Outcome.String())
	} else if r.Strong != nil && r.Strong.Value.Live() {
		out = append(out, string(r.Strong.Value.Data))
	}
	return strings.Join(out, " ")
}

// partition of a key.
func (w *strongWorld) partition(bucket, key string) uint32 {
	return w.ring.PartitionOf(hashring.Hash(bucket, []byte(key)))
}

// Every node serves every request: by itself, by the primary, or by a member.
func TestStrongAnyNode(t *testing.T) {
	w := newStrongWorld(t, "abcde", 8)
	w.active()
	for i := range 16 {
		key := fmt.Sprint("k", i)
		for _, n := range w.nodes {
			value := n.name + key
			put := w.put(n.name, "s", key, value)
			w.expect("put", strongShow(put), "applied")
			if put.Receipt.N != 3 || put.Receipt.Need != 2 || put.Receipt.Acks < 2 || put.Strong.Version.IsZero() || put.Epoch != put.Strong.Version.Epoch {
				t.Fatalf("%+v %+v", put.Receipt, put)
			}
			for _, level := range []Level{LevelDefault, LevelLeader, LevelQuorum, LevelReplica} {
				for _, other := range w.nodes {
					got := w.get(other.name, "s", key, at(level))
					w.expect(fmt.Sprint("get ", level), strongShow(got), value)
					if got.Strong.Version != put.Strong.Version {
						t.Fatalf("%v, not %v", got.Strong.Version, put.Strong.Version)
					}
				}
			}
			w.expect("another bucket", strongShow(w.get(n.name, "t", key)), "key_not_found")
		}
		w.run(300 * time.Millisecond)
		got := w.get("e", "s", key, at(LevelStale))
		w.expect("stale", strongShow(got), "e"+key)
		if got.Strong.Level != LevelStale || got.Strong.Applied == 0 || got.Receipt.Need != 1 {
			t.Errorf("%+v", got.Strong)
		}
		w.expect("delete", strongShow(w.del("d", "s", key)), "applied")
		w.expect("deleted", strongShow(w.get("b", "s", key)), "key_not_found")
	}
	w.run(2 * time.Second)
	w.checkStrong()
	w.atRest()
	var sum StrongStats
	for _, n := range w.nodes {
		s := n.core.Stats().Strong
		sum.Led += s.Led
		sum.Active += s.Active
		sum.Partitions += s.Partitions
		sum.Commits += s.Commits
		sum.Rounds += s.Rounds
		sum.CommitTime += s.CommitTime
		for _, l := range s.Lags {
			sum.Waiting += int(l.Entries)
		}
	}
	if sum.Led != 8 || sum.Active != 8 || sum.Partitions != 24 || sum.Commits != 16*6 || sum.Rounds == 0 || sum.CommitTime < time.Duration(sum.Commits)*time.Millisecond || sum.Waiting != 0 {
		t.Errorf("%+v", sum)
	}
}

// atRest: nothing is left of what was asked.
func (w *strongWorld) atRest() {
	w.t.Helper()
	for _, n := range w.nodes {
		if c := n.core; c != nil {
			s := c.Stats()
			if s.Ops != 0 || s.OverlayBytes != 0 || len(c.strong.peeks) != 0 || c.strong.running != 0 || len(c.strong.unsynced) != 0 || len(c.overlay.rows) != 0 {
				w.t.Errorf("%s is at rest: %d ops, %d bytes, %d questions, %d running", n.name, s.Ops, s.OverlayBytes, len(c.strong.peeks), c.strong.running)
			}
			for _, sp := range c.strong.parts {
				if len(sp.ops) != 0 {
					w.t.Errorf("%s: partition %d has %d requests", n.name, sp.id, len(sp.ops))
				}
			}
		}
	}
}

// Conditions exclude; a refusal says what the key holds.
func TestStrongConditions(t *testing.T) {
	w := newStrongWorld(t, "abcd", 2)
	w.active()
	first := w.put("a", "s", "k", "1", ifAbsent)
	w.expect("created", strongShow(first), "applied")
	again := w.put("b", "s", "k", "2", ifAbsent)
	w.expect("created again", strongShow(again), "precondition_failed not_applied")
	if again.Strong.Version != first.Strong.Version {
		t.Errorf("%+v", again.Strong)
	}
	second := w.put("c", "s", "k", "2", ifMatch(first.Strong.Version))
	w.expect("replaced", strongShow(second), "applied")
	w.expect("replaced again", strongShow(w.put("d", "s", "k", "3", ifMatch(first.Strong.Version))), "precondition_failed not_applied")
	w.expect("deleted", strongShow(w.del("a", "s", "k", ifMatch(second.Strong.Version))), "applied")
	w.expect("nothing", strongShow(w.put("d", "s", "k", "3", ifMatch(second.Strong.Version))), "precondition_failed not_applied")

	var calls []*call
	for _, n := range w.nodes {
		for range 5 {
			calls = append(calls, w.startPut(n.name, "s", "one", n.name, ifAbsent))
		}
	}
	won := 0
	for _, c := range calls {
		if w.wait(c).Code == OK {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d created one key", won)
	}
}

// Counters add up, and a request id adds once.
func TestStrongCounters(t *testing.T) {
	w := newStrongWorld(t, "abcd", 2)
	w.active()
	for i, n := range w.nodes {
		if r := w.count(n.name, "s", "n", by(10)); r.Code != OK || r.Strong.Count != int64(10*(i+1)) {
			t.Fatalf("%s %+v", strongShow(r), r.Strong)
		}
	}
	id := w.key(1)
	once := w.count("a", "s", "n", by(1), id)
	twice := w.count("d", "s", "n", by(1), id)
	if once.Strong.Count != 41 || twice.Strong.Count != 41 || !twice.Strong.Again || twice.Strong.Version != once.Strong.Version {
		t.Errorf("%+v, %+v", once.Strong, twice.Strong)
	}
	w.expect("another request", strongShow(w.count("b", "s", "n", by(2), id)), "idempotency_mismatch not_applied")
	w.put("a", "s", "text", "x")
	w.expect("no counter", strongShow(w.count("b", "s", "text", by(1))), "conflict not_applied")
	w.expect("an eventual bucket", strongShow(w.count("b", "sloppy", "n", by(1))), "not_supported not_applied")
}

// A primary that dies after the forward was sent: with a request id the write acts once
// at the next primary, without one nobody claims to know.
func TestStrongForwardOfDeadPrimary(t *testing.T) {
	for _, answered := range []bool{false, true} {
		w := newStrongWorld(t, "abcd", 1)
		w.active()
		w.fate = cut(drop, "a", "d", MsgForwarded)
		if !answered {
			w.fate = cut(drop, "d", "a", MsgForward)
		}
		with := w.ask(w.node("d"), w.request(OpIncrement, "s", "n", "", []opt{by(1), w.key(1), in(10 * time.Second)}))
		without := w.ask(w.node("d"), w.request(OpIncrement, "s", "m", "", []opt{by(1), in(10 * time.Second)}))
		w.run(100 * time.Millisecond)
		w.crash(w.node("a"), true)
		w.tellDown(w.node("a"))
		w.fate = nil
		w.expect("with an id", strongShow(w.wait(with)), "applied")
		w.expect("without", strongShow(w.wait(without)), "primary_changed unknown")
		r := w.get("b", "s", "n")
		w.expect("it acted once", strongShow(r), "1")
		if answered == (r.Strong.Version.Epoch != 6) {
			t.Errorf("answered %v: %v", answered, r.Strong.Version)
		}
	}
}

// The network loses everything between the coordinator and a living primary; then it is
// another one's turn.
func TestStrongFollowsThePrimary(t *testing.T) {
	w := newStrongWorld(t, "abcd", 1)
	w.active()
	w.fate = cut(drop, "d", "a")
	with := w.startPut("d", "s", "k", "v", w.key(1), in(10*time.Second))
	without := w.startPut("d", "s", "k", "w", in(10*time.Second))
	read := w.startGet("d", "s", "k", in(10*time.Second))
	w.run(100 * time.Millisecond)
	w.move(0, sidOf("b"))
	w.expect("with an id", strongShow(w.wait(with)), "applied")
	w.expect("without", strongShow(w.wait(without)), "primary_changed unknown")
	if got := strongShow(w.wait(read)); got != "v" && got != "key_not_found" {
		t.Error(got)
	}
	if took := without.ended - without.began; took > time.Second {
		t.Errorf("it took %v to say so", took)
	}
}

// Requests wait for a primary until their deadline, and then were not applied.
func TestStrongWaitsForAPrimary(t *testing.T) {
	w := newStrongWorld(t, "abcd", 1)
	w.active()
	w.crash(w.node("a"), false)
	w.tellDown(w.node("a"))
	w.run(time.Millisecond)
	put := w.startPut("d", "s", "k", "v", in(10*time.Second))
	get := w.startGet("c", "s", "k", in(10*time.Second))
	short := w.startPut("d", "s", "k", "w", in(300*time.Millisecond))
	w.expect("in time", strongShow(w.wait(put)), "applied")
	w.wait(get)
	w.expect("too short", strongShow(w.wait(short)), "primary_unavailable not_applied")
	if took := short.ended - short.began; took > 310*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	w.run(300 * time.Millisecond)
	w.frozen = true
	last := w.primary(0)
	w.crash(last, false)
	w.tellDown(last)
	w.run(time.Millisecond)
	w.expect("nobody decides", strongShow(w.put("d", "s", "k", "x")), "primary_unavailable not_applied")
	w.expect("reads by quorum neither", strongShow(w.get("d", "s", "k", at(LevelQuorum))), "read_quorum_timeout")
	if got := strongShow(w.get("d", "s", "k")); got != "primary_unavailable" && got != "read_quorum_timeout" {
		t.Errorf("leader reads: %s", got)
	}
	w.expect("stale ones go on", strongShow(w.get("d", "s", "k", at(LevelStale))), "v")
}

// A primary that nobody can tell of its successor answers no read by itself.
func TestStrongDeposedPrimaryReadsNothing(t *testing.T) {
	w := newStrongWorld(t, "abcde", 1)
	w.active()
	w.expect("old", strongShow(w.put("a", "s", "k", "old")), "applied")
	w.fate = all(cut(drop, "a", "bcde"), cut(drop, "bcde", "a"))
	w.deafTo = map[*wnode]bool{w.node("a"): true}
	w.move(0, sidOf("b"))
	w.active()
	w.expect("new", strongShow(w.put("b", "s", "k", "new")), "applied")
	for _, level := range []Level{LevelLeader, LevelQuorum, LevelReplica} {
		if got := strongShow(w.get("a", "s", "k", at(level))); got == "old" || got == "new" {
			t.Errorf("level %d at the deposed primary: %s", level, got)
		}
	}
	w.expect("a stale one says what it has", strongShow(w.get("a", "s", "k", at(LevelStale))), "old")
	w.expect("nor does it refuse what it cannot know", strongShow(w.put("a", "s", "k", "x", ifAbsent)), "primary_unavailable not_applied")
}

// A write that has left in messages and is not on the primary's disk when it crashes is
// kept if a majority has it, and is never counted by its own unsynced copy.
func TestStrongCrashBeforeSync(t *testing.T) {
	for _, survives := range []bool{false, true} {
		w := newStrongWorld(t, "abc", 1)
		w.active()
		w.put("a", "s", "before", "v")
		a := w.node("a")
		a.holdSync = true
		w.expect("two others have it", strongShow(w.put("a", "s", "k", "v")), "applied")
		w.node("c").holdSync = true
		lone := w.startPut("a", "s", "lone", "v")
		w.run(50 * time.Millisecond)
		if lone.reply != nil {
			t.Fatal("acked by one disk")
		}
		w.crash(a, survives)
		a.holdSync = false
		w.release(w.node("c"))
		w.start(a, true)
		w.run(5 * time.Second)
		w.expect("kept", strongShow(w.get("a", "s", "k", in(10*time.Second))), "v")
		if w.ring.Partitions[0].Strong.Epoch == 6 {
			t.Error("a restarted primary goes on in its epoch")
		}
		w.run(2 * time.Second)
		w.checkStrong()
		w.atRest()
	}
}

// Eventual messages about a strong bucket change and tell nothing (S15).
func TestStrongTakesNoEventualMessages(t *testing.T) {
	w := newStrongWorld(t, "abcd", 1)
	w.active()
	object := w.put("a", "sloppy", "k", "v").Object
	p := w.partition("s", "k")
	for _, m := range []Message{{Kind: MsgWrite, To: sidOf("a"), Object: object}, {Kind: MsgHint, To: sidOf("d"), Object: object, Target: sidOf("a")}, {Kind: MsgRead, To: sidOf("a")}} {
		m.From, m.ID, m.RingVersion, m.Epoch, m.Bucket, m.Key, m.Partition = sidOf("b"), 9, w.ring.Version, w.ring.Partitions[p].PlanEpoch(), 5, []byte("k"), p
		before := w.bySID(m.To).core.strong.stats.Refused
		var why []string
		w.fate = func(_, _ *wnode, r *Message) fate { why = append(why, r.Reason.String()); return drop }
		w.step(w.bySID(m.To), Event{Message: &m})
		w.fate = nil
		if n := w.bySID(m.To).core; n.strong.stats.Refused != before+1 || !slices.Contains(why, "not_owner") {
			t.Errorf("%v: %v, %d refused", m.Kind, why, n.strong.stats.Refused)
		}
	}
	w.run(time.Second)
	for _, n := range w.nodes {
		for k := range n.disk.records {
			if k.bucket == 5 {
				t.Errorf("%s holds a record of the strong bucket", n.name)
			}
		}
		if len(n.disk.hints) != 0 {
			t.Errorf("%s keeps hints", n.name)
		}
	}
}

// Listings show live keys, a write that was just answered among them.
func TestStrongList(t *testing.T) {
	w := newStrongWorld(t, "abcde", 8)
	w.active()
	var want []string
	for i := range 40 {
		key := fmt.Sprintf("key%02d", i)
		w.put("a", "s", key, key)
		if i%4 == 0 {
			w.del("b", "s", key)
			continue
		}
		want = append(want, key)
		var got []string
		r := w.do(w.node("e"), &Request{Op: OpList, Bucket: "s", List: ListRequest{Limit: 100, Values: true}})
		for _, row := range r.List.Rows {
			got = append(got, string(row.Strong.Data))
		}
		if r.Code != OK || !r.List.Complete || !slices.Equal(got, want) {
			t.Fatalf("%v: %v, want %v", r.Code, got, want)
		}
	}
}

// Inspect shows what every member has.
func TestStrongInspect(t *testing.T) {
	w := newStrongWorld(t, "abcd", 1)
	w.active()
	w.put("d", "s", "k", "value")
	w.run(time.Second)
	draw := func() string {
		r := w.do(w.node("d"), &Request{Op: OpInspect, Bucket: "s", Key: []byte("k"), Timeout: 300 * time.Millisecond})
		var out []string
		for _, row := range r.Inspect {
			out = append(out, fmt.Sprintf("%s %v %d %v", w.bySID(row.Store).name, row.State, row.Size, row.InSync))
		}
		return strings.Join(out, ", ")
	}
	w.expect("all have it", draw(), "a present 5 true, b present 5 true, c present 5 true")
	w.fate = cut(drop, everybody, "c")
	w.put("d", "s", "k", "longer")
	w.expect("one cannot be asked", draw(), "a present 6 true, b present 6 true, c unreachable 0 false")
	w.fate = nil
	w.del("d", "s", "k")
	w.run(time.Second)
	w.expect("deleted", draw(), "a tombstone 0 true, b tombstone 0 true, c tombstone 0 true")
	w.put("d", "s", "k", "value")
	w.run(time.Second)
	questions := 0
	w.fate = func(from, to *wnode, m *Message) fate { // c hears nobody, a never hears that b has it
		for _, s := range m.Strong {
			if s.Kind == strong.MsgPeek {
				questions++
			}
		}
		if to.name == "c" || from.name == "b" && to.name == "a" && m.Kind == MsgStrong {
			return drop
		}
		return deliver
	}
	w.ask(w.node("d"), &Request{Op: OpPut, Bucket: "s", Key: []byte("k"), Value: []byte("not committed")})
	w.run(100 * time.Millisecond)
	seen := draw()
	if questions > 100 { // each answer of two members must not become a question to both
		t.Errorf("%d questions", questions)
	}
	w.expect("what is not committed is not shown, and who has it is there", seen, "a present 5 true, b present 5 true, c unreachable 0 false")
}

// A draining node hands its primaries over before it goes, and serves until then.
func TestStrongDrain(t *testing.T) {
	w := newStrongWorld(t, "abcd", 6)
	w.active()
	w.step(w.node("a"), Event{Drain: true})
	w.until("another primary everywhere", func() bool {
		return !slices.ContainsFunc(w.ring.Partitions, func(p hashring.Partition) bool { return p.Primary == sidOf("a") || !p.Strong.Activated })
	})
	if w.now > 3*time.Second {
		t.Errorf("it took until %v", w.now)
	}
	w.expect("and then", strongShow(w.put("d", "s", "k", "v")), "applied")
}
