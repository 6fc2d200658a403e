package strong

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"pgregory.net/rapid"
)

// solo is a partition with one store.
func solo(t *testing.T, opts Options) *actor {
	st := &stage{t: t, links: map[string]string{}, now: time.Second, wall: 1_000_000, opts: opts, quiet: true}
	st.stores([]string{"a"})
	st.config([]string{"1", "a", "a"})
	st.settle()
	return st.actors[0]
}

// replies of one step.
func (a *actor) do(t *testing.T, do func()) []Reply {
	t.Helper()
	a.r.Begin(a.time(), a.seq+1)
	do()
	out := a.r.Finish()
	a.view.carry()
	if len(a.view.staged) > 0 {
		a.seq++
		a.batches = append(a.batches, batch{a.seq, a.view.staged})
		a.view.staged = nil
	}
	a.post(out.Sends)
	return out.Replies
}

func put(key, value string) *Op {
	return &Op{Kind: OpPut, Bucket: bucket, Key: []byte(key), Data: []byte(value), Deadline: time.Hour}
}

func one(t *testing.T, replies []Reply, outcome Outcome, code Code) Reply {
	t.Helper()
	if len(replies) != 1 || replies[0].Outcome != outcome || replies[0].Code != code {
		t.Fatalf("got %+v, not one %v %v", replies, outcome, code)
	}
	return replies[0]
}

// What waits is bounded, by partition and by key, and past the bounds the answer is a
// sure no. A repeat is no new work: it is never refused.
func TestBoundsOfWaiting(t *testing.T) {
	a := solo(t, Options{Pending: 10, KeyInFlight: 4})
	first := put("hot", "0")
	first.ID = RequestID{StampMS: a.st.wall, Nonce: [16]byte{1}}
	for i := range 4 {
		op := put("hot", "x")
		if i == 0 {
			op = first
		}
		if got := a.do(t, func() { a.r.Submit(op) }); len(got) > 0 {
			t.Fatalf("answered before the sync: %v", got)
		}
	}
	one(t, a.do(t, func() { a.r.Submit(put("hot", "y")) }), No, Contention)
	for i := range 6 {
		a.do(t, func() { a.r.Submit(put(fmt.Sprint("cold", i), "x")) })
	}
	one(t, a.do(t, func() { a.r.Submit(put("other", "y")) }), No, Overloaded)
	one(t, a.do(t, func() { a.r.Read(&Read{Bucket: bucket, Key: []byte("hot"), Deadline: time.Hour}) }), No, Overloaded)
	if got := a.do(t, func() { a.r.Submit(first) }); len(got) > 0 {
		t.Fatalf("a repeat is answered %v", got)
	}
}

// Bytes that are not applied are bounded too.
func TestBoundOfBytes(t *testing.T) {
	a := solo(t, Options{PendingBytes: 3000})
	for i := range 2 {
		a.do(t, func() { a.r.Submit(put(fmt.Sprint(i), strings.Repeat("x", 1000))) })
	}
	one(t, a.do(t, func() { a.r.Submit(put("k", strings.Repeat("x", 1000))) }), No, Overloaded)
	a.st.settle()
	if got := a.do(t, func() { a.r.Submit(put("k", strings.Repeat("x", 1000))) }); len(got) > 0 {
		t.Fatalf("with everything applied it is answered %v", got)
	}
}

// Without a majority deadlines pass and entries stay. They are bounded sooner then, in each
// of many partitions; with a majority they are not.
func TestBoundAlone(t *testing.T) {
	st := &stage{t: t, links: map[string]string{}, now: time.Second, wall: 1_000_000, opts: Options{LogEntries: 1 << 20}, quiet: true}
	st.stores([]string{"a", "b", "c"})
	st.config([]string{"1", "a", "a,b,c"})
	st.settle()
	a, value := st.at("a"), strings.Repeat("x", 64<<10)
	write := func(n int) (unknown, refused int) {
		for i := range n {
			op := put(fmt.Sprint(i), value)
			op.Deadline = st.now + time.Second
			for _, r := range a.do(t, func() { a.r.Submit(op) }) {
				switch {
				case r.Outcome == Unknown:
					unknown++
				case r.Outcome == No && r.Code == Overloaded:
					refused++
				}
			}
			st.settle()
			st.pass([]string{"100ms"})
		}
		return unknown, refused
	}
	if unknown, refused := write(100); unknown+refused > 0 {
		t.Fatalf("with all there are %d unknown, %d refused", unknown, refused)
	}
	st.link("cut", []string{"a>b", "a>c", "b>a", "c>a"})
	st.out.Reset()
	write(200)
	if a.r.log.open > 3<<20 {
		t.Errorf("alone, %d bytes wait", a.r.log.open)
	}
	clear(st.links)
	st.pass([]string{"3s"})
	if unknown, refused := write(10); unknown+refused > 0 || a.r.log.open > 0 {
		t.Errorf("then there are %d unknown, %d refused, %d bytes wait", unknown, refused, a.r.log.open)
	}
}

// Past its deadline an operation that may be carried out is unknown; what was not
// sequenced is a no.
func TestDeadlines(t *testing.T) {
	a := solo(t, Options{})
	op := put("k", "v")
	op.Deadline = a.st.now + time.Second
	a.do(t, func() { a.r.Submit(op) })
	a.st.now += 2 * time.Second
	one(t, a.do(t, func() {}), Unknown, Timeout)
	one(t, a.do(t, func() { a.r.Submit(op) }), No, Timeout)
}

// A disk that hangs costs the primary its role.
func TestHangingDisk(t *testing.T) {
	a := solo(t, Options{})
	a.do(t, func() { a.r.Submit(put("k", "v")) })
	a.st.now += 2 * time.Second
	if got := a.do(t, func() {}); len(got) > 0 || a.r.lead == nil {
		t.Fatalf("after 2 s: %v", got)
	}
	a.st.now += 2 * time.Second
	one(t, a.do(t, func() {}), Unknown, PrimaryChanged)
	one(t, a.do(t, func() { a.r.Submit(put("k", "v")) }), No, NotPrimary)
}

func TestCounterRange(t *testing.T) {
	for _, c := range []struct {
		from, add int64
		code      Code
	}{{math.MaxInt64 - 1, 1, Done}, {math.MaxInt64, 1, CounterRange}, {math.MinInt64, -1, CounterRange}, {math.MinInt64, math.MaxInt64, Done}, {0, math.MinInt64, Done}, {-1, math.MinInt64, CounterRange}} {
		zero, _, _ := (&Op{Kind: OpIncrement, Delta: c.from}).effect(nil)
		if _, sum, code := (&Op{Kind: OpIncrement, Delta: c.add}).effect(zero); code != c.code || code == Done && sum != c.from+c.add {
			t.Errorf("%d + %d: %d %v", c.from, c.add, sum, code)
		}
	}
}

// Ids from the future would be kept for ever.
func TestStampAhead(t *testing.T) {
	a := solo(t, Options{})
	op := put("k", "v")
	op.ID = RequestID{StampMS: a.time().WallMS + stampAhead.Milliseconds() + 1}
	one(t, a.do(t, func() { a.r.Submit(op) }), No, IDStamp)
}

type brokenStorage struct{ *view }

var errBroken = errors.New("broken")

func (brokenStorage) Value(uint64, hashring.BucketID, []byte) (*Value, error) { return nil, errBroken }

// A record that cannot be trusted is an error, never absent (D4).
func TestCorruptValue(t *testing.T) {
	a := solo(t, Options{})
	a.r.store = brokenStorage{a.view}
	op := put("k", "v")
	op.If.IfNoneMatch = true
	one(t, a.do(t, func() { a.r.Submit(op) }), No, Corrupt)
	a.r.Begin(a.time(), a.seq+1)
	a.r.Read(&Read{Level: Stale, Bucket: bucket, Key: []byte("k")})
	if out := a.r.Finish(); !errors.Is(out.Err, errBroken) {
		t.Fatalf("the shard is told %v", out.Err)
	}
}

// What a store reads at its start must fit together.
func TestRestore(t *testing.T) {
	e := &Entry{Epoch: 1, Index: 1, Kind: Barrier}
	for name, c := range map[string]struct {
		saved Saved
		disk  bool
		says  string
	}{
		"applied behind base":  {Saved{Hard: Hard{Promised: 1, Base: Position{1, 5}, Commit: 5, Applied: 4}}, true, "do not fit"},
		"commit behind log":    {Saved{Hard: Hard{Promised: 1, Commit: 2}, Log: []Header{header(e)}}, true, "do not fit"},
		"an entry is missing":  {Saved{Hard: Hard{Promised: 1}, Log: []Header{header(e)}}, false, "entry 1"},
		"of another epoch":     {Saved{Hard: Hard{Promised: 2}, Log: []Header{{Epoch: 2}}}, true, "entry 1"},
		"everything is there":  {Saved{Hard: Hard{Promised: 1}, Log: []Header{header(e)}}, true, ""},
		"nothing is there yet": {Saved{}, false, ""},
	} {
		v := &view{disk: newDisk()}
		if c.disk {
			v.entries[1] = e
		}
		_, err := New(hashring.SID{1}, Options{}, v, c.saved, 1, Now{})
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// agreed and majority against counting by hand.
func TestSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Config
		reached := map[hashring.SID]uint64{}
		for range rapid.IntRange(1, 2).Draw(t, "sets") {
			var set []hashring.SID
			for _, b := range rapid.SliceOfNDistinct(rapid.ByteRange(1, 9), 1, 7, rapid.ID).Draw(t, "set") {
				set = append(set, hashring.SID{b})
				reached[hashring.SID{b}] = rapid.Uint64Range(0, 5).Draw(t, "reached")
			}
			c.Sets = append(c.Sets, set)
		}
		got := c.agreed(func(s hashring.SID) uint64 { return reached[s] })
		for n := uint64(0); n <= 6; n++ {
			all := true
			for _, set := range c.Sets {
				k := 0
				for _, s := range set {
					if reached[s] >= n {
						k++
					}
				}
				all = all && k > len(set)/2
			}
			if all != (n <= got) || all != c.majority(func(s hashring.SID) bool { return reached[s] >= n }) {
				t.Fatalf("%d is agreed: %v, the machine says up to %d", n, all, got)
			}
		}
	})
	if none := (&Config{}); none.majority(func(hashring.SID) bool { return true }) || none.agreed(func(hashring.SID) uint64 { return 9 }) != 0 {
		t.Error("no set agrees to something")
	}
}

// A store whose log cannot be read from some entry on gives nothing more. Who pulls from it
// asks again at its pace, and then looks for another majority.
func TestPullOfNothing(t *testing.T) {
	st := &stage{t: t, links: map[string]string{}, now: time.Second, wall: 1_000_000, opts: Options{LogEntries: 100, CutEntries: 50}, quiet: true}
	st.stores([]string{"a", "b", "c"})
	st.config([]string{"1", "a", "a,b,c"})
	st.settle()
	st.link("cut", []string{"a>c"})
	for i := range 5 {
		st.submit(OpPut, []string{"a", fmt.Sprint("k", i), "v"})
		st.settle()
	}
	st.pass([]string{"1s"})
	b := st.at("b")
	st.crash([]string{"a", "b"})
	b.start()
	st.settle()
	delete(b.view.entries, 4)
	st.quiet = false
	st.config([]string{"2", "c", "a,b,c", "to", "b,c"})
	st.settle()
	st.pass([]string{"3s"})
	if n := strings.Count(st.out.String(), "c>b pull "); n < pullTries || n > 20 {
		t.Errorf("%d pulls in 3 s", n)
	}
}

// What was deleted leaves nothing behind once its log entry is cut off, at a store that has
// it from a snapshot neither: the log there begins behind it.
func TestDeletedLeavesNothing(t *testing.T) {
	st := &stage{t: t, links: map[string]string{}, now: time.Second, wall: 1_000_000, opts: Options{Heartbeat: time.Second, LogEntries: 8, CutEntries: 2, SliceRows: 2}, quiet: true}
	st.stores([]string{"a", "b", "c"})
	st.config([]string{"1", "a", "a,b,c"})
	st.settle()
	write := func(kind OpKind, words string) {
		st.submit(kind, strings.Fields("a "+words))
		st.settle()
	}
	st.link("cut", []string{"a>c"})
	for i := range 12 {
		write(OpPut, fmt.Sprint("k", i, " v"))
	}
	for i := range 6 {
		write(OpDelete, fmt.Sprint("k", i))
	}
	delete(st.links, "a>c")
	taken := func() int {
		if in := st.at("c").r.install; in != nil && in.part == PartValues {
			return len(st.at("c").disk.gen(in.generation).values)
		}
		return 0
	}
	for range 4 { // of six slices
		st.links["a>c:snap_reply"] = "1"
		st.pass([]string{"400ms"})
	}
	if n := taken(); n != 4 {
		t.Fatalf("%d values have been taken", n)
	}
	for i := range 4 { // k6 and k7 have been read, k8 and k9 not yet
		write(OpDelete, fmt.Sprint("k", 6+i))
	}
	clear(st.links)
	for i := range 12 {
		st.pass([]string{"1s"})
		write(OpPut, fmt.Sprint("new v", i))
	}
	st.pass([]string{"3s"})
	for _, a := range st.actors {
		left, rows := 0, a.disk.gen(a.disk.hard.Generation).values
		for _, row := range rows {
			if row.Value.Tombstone {
				left++
			}
		}
		if a.disk.hard.Applied != a.disk.hard.Commit || len(rows)-left != 3 || left > 0 {
			t.Errorf("%s: applied %d of %d, %d values, of %d others are traces", a.name, a.disk.hard.Applied, a.disk.hard.Commit, len(rows)-left, left)
		}
	}
}
