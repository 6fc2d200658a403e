package sim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
	"github.com/quoratedb/quorate/sim/check"
)

// load is the clients: operations arrive at a drawn rate whatever the answers do.
type load struct {
	rand     *rand.Rand
	clients  []*client
	picks    []int // workload by ticket
	history  []check.Op
	open     map[*call]bool // by call: what clients still wait for
	idSeq    int
	reqSeq   uint64
	made     int // operations that the workloads made
	valueSeq int
	boost    float64 // times the usual rate
	hasty    bool    // requests get little time
	stopped  bool
	okOps    int
	counts   outcomes

	requestLost, replyLost float64 // faults between client and node

	frames   framesClient
	keyTexts map[strong.RequestID]string // Idempotency-Keys as clients write them

	adds  map[string]int        // increments asked for, by counter
	locks map[string]*lockOrder // held, by key
}

// outcomes counts how operations ended.
type outcomes struct {
	Reads       int `json:"reads"`
	ReadsFailed int `json:"reads_failed"`
	Acked       int `json:"acked"`
	NotApplied  int `json:"not_applied"`
	Unknown     int `json:"unknown"`
}

// client is one holder of tokens.
type client struct {
	id     int
	tokens map[*keyTruth]*token
	strong map[string]strongSeen
}

// token is a causal context as a client holds it, and what it really stands for.
type token struct {
	text   string
	knows  []*mint
	values []string // the client's own idea of it, for the history
}

// call is one request at a node.
type call struct {
	op      int // in the history
	client  *client
	node    *node
	req     *core.Request
	key     *keyTruth
	att     *attempt
	token   *token // it came with
	began   time.Duration
	tries   int
	done    bool
	reply   *core.Reply
	ring    *hashring.Ring // of the node that was asked, then
	strict  bool
	steady  bool // strict, and with a majority of reads
	mustSee version.Vector
	strong  *strongTry // on the strong bucket
	then    func()     // a scenario waits
}

func (l *load) ids() int { l.idSeq++; return l.idSeq }

func (l *load) start(w *World) {
	l.rand, l.open, l.boost = stream(w.opt.Seed, forClients), map[*call]bool{}, 1
	l.adds, l.locks, l.keyTexts = map[string]int{}, map[string]*lockOrder{}, map[strong.RequestID]string{}
	for i := range w.draw.Clients {
		l.clients = append(l.clients, &client{id: i, tokens: map[*keyTruth]*token{}})
	}
	for i := range workloads {
		for range w.draw.Workloads[workloads[i].name] {
			l.picks = append(l.picks, i)
		}
	}
	if len(l.picks) > 0 {
		w.after(time.Second, event{kind: evClient})
	}
}

// next makes one operation and plans the one after it.
func (l *load) next(w *World) {
	if l.stopped || w.opt.MaxOps > 0 && l.made >= w.opt.MaxOps {
		return
	}
	w.after(between(l.rand, 0, time.Duration(2*float64(time.Second)/(w.draw.Rate*l.boost))), event{kind: evClient})
	if len(l.open) >= maxOpen {
		return
	}
	o := order{w: w, r: l.rand, client: l.clients[l.rand.IntN(len(l.clients))]}
	workloads[l.picks[l.rand.IntN(len(l.picks))]].make(&o)
	l.make(&o)
}

// maxOpen bounds what clients wait for at a time.
const maxOpen = 2000

// make sends what a workload has ordered.
func (l *load) make(o *order) {
	if o.req.Op == 0 {
		return
	}
	w := o.w
	node := o.node
	for range w.nodes { // a client that is refused goes on to the next node
		if node != nil && node.up {
			break
		}
		node = w.nodes[l.rand.IntN(len(w.nodes))]
	}
	if !node.up {
		return
	}
	if l.hasty {
		o.req.Timeout = between(l.rand, time.Millisecond, 50*time.Millisecond)
	}
	l.made++
	c := l.ask(w, node, o.client, &o.req, o.token)
	if c.strong != nil {
		c.strong.lock = o.lock
		return
	}
	if to := w.nodes[l.rand.IntN(len(w.nodes))]; o.again && c.att != nil && to.up { // the same write twice, on purpose
		w.probe.hit(pAskedTwice)
		c.att.unsure = true
		l.history[c.op].Resent = true
		req := o.req
		l.send(w, &call{op: c.op, client: c.client, node: to, req: &req, key: c.key, att: c.att, token: c.token, began: w.now, tries: 2})
	}
}

// ask gives a request to a node and opens its operation.
func (l *load) ask(w *World, n *node, by *client, req *core.Request, with *token) *call {
	ring := w.auth.ringAt(w.auth.state.Version)
	b, ok := ring.Bucket(req.Bucket)
	if ok && b.Mode == hashring.Strong {
		return l.askStrong(w, n, by, req, b, ring)
	}
	c := &call{client: by, node: n, req: req, op: -1, began: w.now, token: with}
	if ok && len(req.Key) > 0 {
		c.key = w.truth.key(b, req.Key, ring.PartitionOf(hashring.Hash(req.Bucket, req.Key)))
		l.open1(w, c, b, ring)
	}
	l.send(w, c)
	return c
}

// open1 registers an operation on one key before it is asked for.
func (l *load) open1(w *World, c *call, b *hashring.Bucket, ring *hashring.Ring) {
	req, kt := c.req, c.key
	owners := ring.N(b, kt.partition)
	rq, wq := ring.Quorum(kt.partition, owners)
	full := len(ring.Full(kt.partition, owners))
	byDefault := wq
	need := func(asked core.Count, def int) int {
		switch {
		case asked == core.All:
			return full
		case asked > 0:
			return int(asked)
		case def > 0:
			return def
		}
		return max(1, byDefault)
	}
	sloppy := b.Sloppy
	if req.Sloppy != core.Unset {
		sloppy = req.Sloppy == core.Yes
	}
	wr := need(req.W, b.W)
	byDefault = rq
	r := need(req.R, b.R)
	byDefault = wq
	op := check.Op{Client: c.client.id, Bucket: kt.name, Key: kt.key, Call: w.now, Node: c.node.name}
	switch req.Op {
	case core.OpGet:
		op.Kind = check.Read
		// While owners are missing it takes the default R to meet what was acked before.
		c.strict = !sloppy && r+need(0, b.W) > full && (full == owners || r >= rq)
		// Two reads share a store only where 2R>N: that alone keeps reads from going
		// back to before a write that was never acked.
		c.steady = c.strict && 2*r > full
		c.mustSee = kt.mustSee(c.steady)
		op.Level, op.Outcome = level(r, full, c.steady), check.Failed
		if req.HasAfter && c.token != nil {
			op.Level = check.Session
			op.Session = c.token.values
		}
	case core.OpPut, core.OpDelete:
		if req.ID.IsZero() {
			l.reqSeq++
			binary.BigEndian.PutUint64(req.ID[:], w.opt.Seed)
			binary.BigEndian.PutUint64(req.ID[8:], l.reqSeq)
		}
		a := &attempt{key: kt, id: req.ID, asked: w.now, op: len(l.history), value: valueName(req.Value), deletes: req.Op == core.OpDelete, has: req.HasContext,
			epoch: w.auth.agreed(kt.partition), need: wr, sloppy: sloppy, pw: max(0, int(req.PW))}
		if c.token != nil && req.HasContext {
			a.knows = c.token.knows
			op.HasContext, op.Context = true, c.token.values
		}
		op.HasContext = req.HasContext
		for _, acked := range w.truth.acked {
			a.clock = append(a.clock, acked...)
		}
		if sloppy || r+wr <= full || wr < need(0, b.W) {
			kt.strict = false
		}
		op.Outcome = check.Unknown
		op.Kind, op.Value, op.Level = check.Write, a.value, level(wr, full, !sloppy && r+wr > full)
		if a.deletes {
			op.Kind = check.Delete
		}
		if old := w.truth.byID[req.ID]; old != nil { // a re-sent one belongs to the first
			c.att, c.op = old, old.op
			return
		}
		c.att = a
		w.truth.byID[req.ID] = a
		kt.attempts = append(kt.attempts, a)
	default:
		return
	}
	c.op = len(l.history)
	l.history = append(l.history, op)
}

func level(need, owners int, strict bool) check.Level {
	switch {
	case strict:
		return check.Strict
	case need >= owners:
		return check.All
	case need == 1:
		return check.One
	}
	return check.Quorum
}

// patience is how much longer than its deadline a client waits for the answer.
const patience = 500 * time.Millisecond

// send hands the request to the node's process. It may be lost on the way.
func (l *load) send(w *World, c *call) {
	l.open[c] = true
	if c.att != nil {
		c.att.waiting++
	}
	c.req.Waiter = c
	c.tries++
	n := c.node
	c.ring = n.ring
	if w.telling() {
		w.note("client %d asks %s: %s", c.client.id, n.name, drawRequest(c))
	}
	wait := c.req.Timeout
	if wait == 0 {
		wait = core.DefaultDeadline
	}
	w.after(wait+patience, event{kind: evGiveUp, p: c})
	if !n.up {
		w.after(time.Millisecond, event{kind: evAnswer, p: c})
		return
	}
	if chance(l.rand, l.requestLost) {
		w.probe.hit(pRequestLost)
		return
	}
	n.calls = append(n.calls, c)
	shard := n.shards[0]
	switch {
	case n.ring == nil:
	case c.key != nil:
		shard = n.shards[int(c.key.partition)%len(n.shards)]
	case c.strong != nil:
		shard = n.shards[int(c.strong.partition)%len(n.shards)]
	}
	shard.take(core.Event{Request: l.carry(w, c)})
}

// replied: a node has answered. The client sees it unless the reply is lost.
func (l *load) replied(w *World, n *node, c *call, r *core.Reply) {
	for i, o := range n.calls {
		if o == c {
			n.calls[i] = n.calls[len(n.calls)-1]
			n.calls[len(n.calls)-1] = nil
			n.calls = n.calls[:len(n.calls)-1]
			break
		}
	}
	if w.telling() {
		w.note("%s answers client %d: %s", n.name, c.client.id, drawReply(c, r, n.wall()))
	}
	w.probe.reply(w, c, r)
	if c.reply != nil {
		w.violate(Violation{Check: "answers", Kind: "TWICE", Detail: fmt.Sprintf("%s answers one request twice: %v, then %v", n.name, c.reply.Code, r.Code)})
	}
	l.carryBack(w, n, c, r)
	c.reply = r
	l.fits(w, c, r)
	if chance(l.rand, l.replyLost) {
		w.probe.hit(pReplyLost)
		c.reply = nil
	}
	if c.done {
		return // the client has gone
	}
	if c.reply == nil {
		return // and waits
	}
	l.answered(w, c)
}

// fits holds the form of an answer against the contract.
func (l *load) fits(w *World, c *call, r *core.Reply) {
	isWrite := c.req.Op == core.OpPut || c.req.Op == core.OpDelete || c.req.Op == core.OpIncrement
	if isWrite != (r.Outcome != core.OutcomeNone) || isWrite && (r.Code == core.OK) != (r.Outcome == core.Applied) {
		w.violate(Violation{Check: "answers", Kind: "FORM", Detail: fmt.Sprintf("op %d is answered %v with outcome %q", c.req.Op, r.Code, r.Outcome)})
	}
}

// answered: the client has its answer, or with no reply sees its connection end.
func (l *load) answered(w *World, c *call) {
	if c.done {
		return
	}
	c.done = true
	delete(l.open, c)
	r := c.reply
	if c.strong != nil {
		l.strongAnswered(w, c, r)
	} else if c.key != nil && c.op >= 0 {
		if c.att != nil {
			l.wrote(w, c, r)
			c.att.waiting--
		} else {
			l.didRead(w, c, r)
		}
	}
	if c.then != nil {
		c.then()
	}
}

// giveUp: the client has waited long enough.
func (l *load) giveUp(w *World, c *call) {
	if c.done {
		return
	}
	n := c.node
	if n.up && c.reply == nil && n.paused == 0 && slices.Contains(n.calls, c) {
		l.overdue(w, c)
	}
	c.reply = nil
	l.answered(w, c)
}

// overdue: every request is answered by its deadline, by a process that has the CPU.
func (l *load) overdue(w *World, c *call) {
	n := c.node
	if n.slow != 1 || n.clock.rate < 1 || n.clock.halted || n.clock.true0 > c.began || n.busy > w.now || n.lagged > c.began || w.now-n.calm < 10*time.Second && n.calm > 0 || w.now-n.woke < 2*patience+c.req.Timeout+core.DefaultDeadline || n.disk.stalled > c.began {
		return
	}
	w.violate(Violation{Check: "answers", Kind: "OVERDUE", Detail: fmt.Sprintf("%s has not answered %s begun at %v", n.name, drawRequest(c), c.began)})
}
