package strong

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/sim/check"
)

const bucket = hashring.BucketID(7)

// history is what the clients saw.
type history struct {
	w      *world
	ops    []check.Op // of registers
	counts []countOp  // of counters
	values int
	adds   map[string]int // increments by counter
	done   int
}

// countOp is an operation on a counter. Every increment of a counter adds another power
// of two, so that a sum tells which of them are in it.
type countOp struct {
	key         string
	call, ret   time.Duration
	bit         int64 // 0: a read
	sum         int64 // with ok
	ok, unknown bool
}

// client makes one operation after the other.
type client struct {
	w      *world
	id     int
	last   map[string]seenValue
	quiet  bool
	reader bool // it never writes, and reads from the primary
	served *node
	loyal  float64 // how often it goes where it was served last
}

type seenValue struct {
	version Version
	value   string // empty: absent
}

// attempt is one copy of an operation at one node.
type attempt struct {
	op   *operation
	node int
	done bool
}

// operation is a client's operation with all its copies.
type operation struct {
	c        *client
	op       Op
	read     *Read
	quorum   bool
	h        check.Op
	bit      int64
	sent     int
	refused  int // copies that were answered "no", not decided
	finished bool
	tries    int
	ghost    bool // a late copy of something finished
	version  Version
}

// quorumRead runs at a node.
type quorumRead struct {
	q       *QuorumRead
	attempt *attempt
}

func (h *history) leadsAt(n *node) bool { return n.r != nil && n.r.lead != nil && n.r.lead.active }

func (c *client) loop() {
	if c.quiet {
		return
	}
	op := c.draw()
	c.begin(op)
}

func (c *client) begin(op *operation) {
	op.h.Client, op.h.Call = c.id, c.w.now
	op.try()
}

func (c *client) next() {
	c.w.after(c.w.between(ms, 60*ms), c.loop)
}

// key draws a key; some are counters.
func (c *client) key() (string, bool) {
	i := c.w.rng.IntN(4)
	return fmt.Sprintf("k%d", i), i == 3
}

func (c *client) draw() *operation {
	w := c.w
	key, counter := c.key()
	op := &operation{c: c, tries: 1}
	op.h.Bucket, op.h.Key = "b", key
	op.op = Op{Bucket: bucket, Key: []byte(key)}
	if w.chance(0.45) || c.reader {
		op.h.Kind = check.Read
		op.read = &Read{Bucket: bucket, Key: []byte(key), Level: Level(w.rng.IntN(4))}
		op.quorum = w.chance(0.35)
		if c.reader && w.chance(0.8) {
			op.read.Level, op.quorum = []Level{Leader, Lease}[w.rng.IntN(2)], false
		}
		return op
	}
	if w.chance(0.5) {
		op.tries = 1 + w.rng.IntN(4)
		op.op.ID = RequestID{StampMS: w.wallStart + w.now.Milliseconds()}
		for i := range op.op.ID.Nonce {
			op.op.ID.Nonce[i] = byte(w.rng.Uint32())
		}
	}
	if counter {
		c.increment(op, key)
		return op
	}
	w.hist.values++
	op.h.Value = fmt.Sprintf("v%d", w.hist.values)
	op.h.Kind, op.op.Kind = check.Write, OpPut
	if w.chance(0.2) {
		op.h.Kind, op.op.Kind, op.h.Value = check.Delete, OpDelete, ""
	}
	op.op.Data = []byte(op.h.Value)
	if w.chance(0.6) {
		c.condition(op, key)
	}
	return op
}

func (c *client) increment(op *operation, key string) {
	w := c.w
	if w.hist.adds[key] >= 60 {
		op.h.Kind, op.read = check.Read, &Read{Bucket: bucket, Key: []byte(key)}
		op.op.ID, op.tries = RequestID{}, 1
		return
	}
	op.bit = 1 << w.hist.adds[key]
	w.hist.adds[key]++
	op.op.Kind, op.op.Delta = OpIncrement, op.bit
	op.h.Kind = check.Write
}

// condition makes it a compare-and-set with what the client saw last.
func (c *client) condition(op *operation, key string) {
	seen := c.last[key]
	op.h.Kind, op.h.HasContext = check.CAS, true
	switch {
	case seen.value != "":
		op.op.If.IfMatch, op.h.Context = seen.version, []string{seen.value}
	case op.op.Kind == OpDelete:
		op.h.Kind, op.h.HasContext = check.Delete, false
	default:
		op.op.If.IfNoneMatch = true
	}
}

// try sends a copy to a node that may be the primary.
func (o *operation) try() {
	w := o.c.w
	o.sent++
	n := w.anyNode()
	if o.primarys() { // to the primary, as far as is known
		if p := w.at(n.knows.Primary); p != nil && w.chance(0.95) {
			n = p
		}
		if o.c.served != nil && w.chance(o.c.loyal) {
			n = o.c.served
		}
	}
	a := &attempt{op: o, node: n.slot}
	patience := w.between(60*ms, 700*ms)
	d := w.between(ms/10, 3*ms)
	if !w.calm && w.chance(w.faults.slow*2) {
		d = w.between(2*ms, 2*time.Second)
	}
	if w.calm || !w.chance(w.faults.loss/2) {
		w.after(d, func() { o.arrive(n, a, patience) })
	}
	w.after(patience+w.between(0, 50*ms), func() { o.result(a, Reply{Outcome: Unknown, Code: Timeout}) })
}

func (o *operation) arrive(n *node, a *attempt, patience time.Duration) {
	n.input(func() {
		deadline := n.time().Mono + patience
		switch {
		case o.read == nil:
			op := o.op
			op.Deadline, op.Waiter = deadline, a
			n.r.Submit(&op)
		case o.quorum:
			q := *o.read
			q.Deadline, q.Waiter = o.c.w.now+patience, a
			n.reads = append(n.reads, &quorumRead{NewQuorumRead(n.knows, q, o.c.w.opts, func() uint64 { n.id++; return n.id }), a})
			n.stepReads()
		default:
			q := *o.read
			q.Deadline, q.Waiter = deadline, a
			n.r.Read(&q)
		}
	})
}

// stepReads moves the quorum reads that a node runs.
func (n *node) stepReads() {
	w, life, wake := n.w, n.life, n.w.now+time.Hour
	n.reads = slices.DeleteFunc(n.reads, func(q *quorumRead) bool {
		out := q.q.Step(w.now)
		for _, s := range out.Sends {
			w.send(n, s.To, s.Msg)
		}
		switch {
		case out.Reply != nil:
			w.hist.replied(n, *out.Reply)
		case out.WantRing != 0:
			w.tellRing(n)
			w.hist.replied(n, Reply{Waiter: q.attempt, Outcome: No, Code: Redirect})
		default:
			wake = min(wake, out.Wake)
			return false
		}
		return true
	})
	if len(n.reads) > 0 && (n.readsWake <= w.now || wake < n.readsWake) {
		n.readsWake = max(wake, w.now+ms/10)
		at := n.readsWake
		w.after(at-w.now, func() {
			if n.life == life && n.readsWake == at {
				n.input(n.stepReads)
			}
		})
	}
}

// replied carries a reply back.
func (h *history) replied(n *node, reply Reply) {
	w := h.w
	a, ok := reply.Waiter.(*attempt)
	if !ok {
		return // nobody waits
	}
	w.trace("%s answers %s %s: %v %v %v %s again=%v", n.name(), a.op.what(), a.op.op.Key, reply.Outcome, reply.Code, reply.Version, drawValue(reply.Value), reply.Again)
	if o := w.at(w.ring.cfg.Primary); h.leadsAt(n) && o != nil && o != n && h.leadsAt(o) {
		w.count["answer of an old primary: "+reply.Outcome.String()]++
	}
	if a.op.read != nil && reply.Outcome == OK {
		h.holds(n, a.op, reply)
	}
	if !w.calm && w.chance(w.faults.loss) {
		return
	}
	w.after(w.between(ms/10, 3*ms), func() { a.op.result(a, reply) })
}

// primarys tells that the primary carries it out.
func (o *operation) primarys() bool {
	return o.read == nil || (o.read.Level == Leader || o.read.Level == Lease) && !o.quorum
}

func (o *operation) what() string {
	if o.read != nil {
		return fmt.Sprintf("read %v quorum=%v", o.read.Level, o.quorum)
	}
	return fmt.Sprintf("op %d %s ifmatch=%v ifnone=%v id=%v", o.op.Kind, o.op.Data, o.op.If.IfMatch, o.op.If.IfNoneMatch, !o.op.ID.IsZero())
}

// holds compares a read with the committed log: what is answered is the state at the
// index that goes with it.
func (h *history) holds(n *node, o *operation, reply Reply) {
	want := h.w.valueAt(string(o.op.Key), reply.Applied)
	if n.diverged && n.r.hard.Diverged && !o.quorum {
		fail("D5", "%s answers from values that are not what they should be", n.name())
	}
	if int(reply.Applied) > len(h.w.log) {
		fail("S9", "%s answers a read at %d, committed is %d", n.name(), reply.Applied, len(h.w.log))
	}
	if got := reply.Value; got.Live() != want.Live() || got.Live() && got.Version != want.Version {
		fail("state", "%s answers a read (%s) of %s at %d with %s, the log says %s", n.name(), o.what(), o.op.Key, reply.Applied, drawValue(got), drawValue(want))
	}
}

// result is the end of one copy for its client: an answer, or its patience.
func (o *operation) result(a *attempt, reply Reply) {
	w := o.c.w
	if a.done {
		return
	}
	a.done = true
	switch {
	case reply.Outcome == OK && o.primarys():
		o.c.served = w.nodes[a.node]
	case reply.Code == NotPrimary:
		o.c.served = nil
	}
	if o.ghost && reply.Outcome == OK && reply.Version != o.version {
		fail("S12", "a copy of a finished request is answered with version %v, it was %v", reply.Version, o.version)
	}
	if o.finished {
		return
	}
	decided := reply.Outcome == OK || reply.Outcome == No && (reply.Code == PreconditionFailed || reply.Code == NotCounter || reply.Code == CounterRange)
	if reply.Outcome == No && !decided {
		o.refused++
	}
	switch {
	case decided:
	case o.sent < o.tries && w.calm == false:
		w.after(w.between(ms, 300*ms), func() {
			if !o.finished {
				o.try()
			}
		})
		return
	}
	o.finish(reply, decided)
}

// finish writes the operation into the history.
func (o *operation) finish(reply Reply, decided bool) {
	w, c := o.c.w, o.c
	o.finished = true
	o.h.Return = w.now
	switch {
	case o.read != nil && reply.Outcome == OK:
		o.h.Outcome = check.OK
	case o.read != nil:
		o.h.Outcome = check.Failed
	case decided && reply.Outcome == OK:
		o.h.Outcome = check.OK
	case decided && o.h.Kind == check.CAS:
		o.h.Outcome = check.Mismatch
	case decided, o.refused == o.sent:
		o.h.Outcome = check.NotApplied
	default:
		o.h.Outcome = check.Unknown
	}
	w.count["op "+o.h.Outcome.String()]++
	o.record(reply)
	if !o.op.ID.IsZero() && decided && w.chance(0.3) {
		ghost := *o
		ghost.ghost, ghost.version = true, Version{} // a refused one must stay refused
		if reply.Outcome == OK {
			ghost.version = reply.Version
		}
		w.after(w.between(0, 8*time.Second), ghost.try)
	}
	c.next()
}

func (o *operation) record(reply Reply) {
	w, key := o.c.w, string(o.op.Key)
	h := &w.hist
	h.done++
	v := reply.Version
	if o.h.Outcome == check.OK || o.h.Outcome == check.Mismatch {
		if !v.IsZero() {
			o.h.Version = check.FormatVersion(v.Epoch, v.Index)
		}
	}
	if o.read != nil && reply.Outcome == OK {
		o.c.last[key] = seenValue{}
		if reply.Value.Live() {
			o.h.Read = []string{string(reply.Value.Data)}
			o.c.last[key] = seenValue{v, string(reply.Value.Data)}
		}
		if o.read.Level == Stale && !o.quorum {
			w.count["read stale"]++
			return // held to the log by holds; no promise of freshness
		}
		w.count[fmt.Sprintf("read %d quorum=%v", o.read.Level, o.quorum)]++
		if reply.Lease {
			w.count["read by a lease"]++
		}
	} else if o.h.Outcome == check.OK {
		o.c.last[key] = seenValue{v, o.h.Value}
	}
	if key != "k3" {
		if o.h.Outcome != check.Failed {
			h.ops = append(h.ops, o.h)
		}
		return
	}
	op := countOp{key: key, call: o.h.Call, ret: w.now, bit: o.bit, ok: o.h.Outcome == check.OK, unknown: o.h.Outcome == check.Unknown}
	if op.ok && o.read != nil {
		if reply.Value.Live() {
			op.sum, _ = strconv.ParseInt(string(reply.Value.Data), 10, 64)
		}
	} else if op.ok {
		op.sum = reply.Count
	}
	h.counts = append(h.counts, op)
}

// judge holds the clients' history to linearizability.
func (h *history) judge() error {
	if err := h.judgeCounters(); err != nil {
		return err
	}
	bad := check.VersionOrder(h.ops)
	bad = append(bad, check.Registers(h.ops, check.RegisterOptions{MaxWindows: 6, MaxOps: 80, MaxSteps: 50_000})...)
	if len(bad) > 0 {
		text := fmt.Sprint(bad[0])
		for _, i := range bad[0].Ops {
			text += "\n  " + h.ops[i].String()
		}
		return violation{"history", text}
	}
	return nil
}

// judgeCounters: the sums that were seen grow bit by bit, contain every increment that
// was done before, and none that was refused or begun later.
func (h *history) judgeCounters() error {
	var seen []countOp
	for _, o := range h.counts {
		if o.ok {
			seen = append(seen, o)
		}
	}
	for _, a := range seen {
		if a.bit != 0 && a.sum&a.bit == 0 {
			return violation{"counter", fmt.Sprintf("an increment by %b is answered with %b", a.bit, a.sum)}
		}
		for _, b := range seen {
			if a.sum&b.sum != a.sum && a.sum&b.sum != b.sum {
				return violation{"counter", fmt.Sprintf("sums %b and %b", a.sum, b.sum)}
			}
			if a.ret < b.call && (a.sum&^b.sum != 0 || b.bit != 0 && a.sum&b.bit != 0 || bits.OnesCount64(uint64(a.sum)) == bits.OnesCount64(uint64(b.sum)) && b.bit != 0) {
				return violation{"counter", fmt.Sprintf("%b was seen by %v, and %b later from %v", a.sum, a.ret, b.sum, b.call)}
			}
		}
		for _, o := range h.counts {
			if o.bit != 0 && a.sum&o.bit != 0 && (o.call > a.ret || !o.ok && !o.unknown) {
				return violation{"counter", fmt.Sprintf("sum %b at %v holds %b, called at %v ok=%v unknown=%v", a.sum, a.ret, o.bit, o.call, o.ok, o.unknown)}
			}
		}
	}
	return nil
}
