package antientropy

import (
	"slices"
	"time"
)

// Bounds of an exchange. What is in memory is one slice, the pairs found, and the
// digests of the leaves that differ; what is on its way is one message.
const (
	BundleLeaves = 64        // leaves compared or shipped by one request
	CompareRows  = 1024      // leaf rows in one compare
	CompareBytes = 64 << 10  // and their bytes
	LookKeys     = 128       // keys whose clocks are compared by one request
	SliceBytes   = 256 << 10 // objects read or shipped in one go, or one object
	MaxPairs     = 4096      // differing keys that wait for their second look; more wait for their first
	maxResends   = 2         // of a request that is not answered
	answerWithin = 10 * time.Second
	// openWithin is what a peer has for its first answer, which needs nothing read. One
	// that does not give it must not hold up the partition's exchanges with the others;
	// it is asked again when its turn comes.
	openWithin = 3 * time.Second
	// DefaultSecondLook is twice what an owner has to ack a write before a stand-in is
	// asked beside it. A slower write is joined twice, which changes nothing.
	DefaultSecondLook = time.Second
)

// Config of one exchange. The epoch and generation are the partition's, here.
type Config struct {
	Exchange   uint64 // names it; must not be reused
	Epoch      uint64
	Generation uint64
	// Thorough joins also what has moved since the first look. A pass of a purge round
	// needs it, and the exchange that clears a dirty mark.
	Thorough   bool
	SecondLook Duration // 0: DefaultSecondLook
	// Resume is where to begin: the leaf at which the last one was cut off.
	Resume uint16
}

// Result of an exchange.
type Result struct {
	Reason Reason // ReasonNone: it went to the end
	// Equal: the roots were, nothing was read.
	Equal bool
	// Complete: every leaf that differed was looked at and every key that differed has
	// been joined at both ends, durably. Only this clears a dirty mark or counts in a
	// purge round.
	Complete bool
	Differed uint64 // keys found to differ, the leaf shipped whole counted by its keys
	Sent     uint64 // objects
	Received uint64
	Moving   uint64 // keys or leaves that changed between the looks: left for the next exchange
	Damaged  uint64 // keys whose record cannot be trusted
	// Read is bytes of leaf rows and records read here; Out and In of messages, hashes
	// and digests included.
	Read, Out, In uint64
	Resume        uint16
}

// Exchange is the leading end. It asks one thing at a time: every method returns what
// to do next, and what comes of that is the next call.
type Exchange struct {
	cfg    Config
	tree   *Tree
	result Result

	step    uint32
	waiting *Message // the request that is not answered
	resends int
	wake    Duration
	then    func(now Duration, l *Loaded) Do // takes the load that is under way
	synced  func(now Duration) Do            // takes Applied

	open   bool // the other end has admitted it, and will be told of the end
	level  int
	nodes  []uint16          // asked about on the way down
	theirs map[uint16]Digest // of the leaves that differ
	ripe   Duration          // when what was found may have its second look
	settle bool              // second looks are under way
	comp   leafSet           // leaves to compare
	at     uint16
	bundle *bundle
	direct []direct
	sure   bool // direct leaves have had their second look
	ship   *shipment
	pairs  []pair
	batch  []looked
	wanted []Row
}

// pair is a key that differs: what both ends had at the first look.
type pair struct {
	row    Row
	theirs uint64
}

// Start begins an exchange with a peer that may have one now (Schedule).
func Start(cfg Config, tree *Tree, now Duration) (*Exchange, Do) {
	x := &Exchange{cfg: cfg, tree: tree, theirs: make(map[uint16]Digest), at: cfg.Resume % Leaves}
	if x.cfg.SecondLook == 0 {
		x.cfg.SecondLook = DefaultSecondLook
	}
	if !tree.Known() {
		return x, x.end(ReasonRebuilding)
	}
	return x, x.ask(now, Message{Kind: MsgOpen, Digests: []Digest{tree.Root()}})
}

// Doing is what the exchange is at, for a status line.
func (x *Exchange) Doing() string {
	switch {
	case x.waiting != nil:
		return x.waiting.Kind.String()
	case x.then != nil:
		return "reading"
	case x.synced != nil:
		return "merging"
	}
	return "waiting for the second look"
}

// Result is what has come of it so far.
func (x *Exchange) Result() Result { return x.result }

// Stop ends it from outside: the ring changed, a store went down, the core stops.
func (x *Exchange) Stop(why Reason) Do { return x.end(why) }

// Changed must be called when the partition's epoch or purge generation may have
// changed here; it ends the exchange if so.
func (x *Exchange) Changed(epoch, generation uint64) Do {
	switch {
	case epoch != x.cfg.Epoch:
		return x.end(ReasonEpoch)
	case generation != x.cfg.Generation:
		return x.end(ReasonGeneration)
	case !x.tree.Known():
		return x.end(ReasonRebuilding)
	}
	return Do{Wake: x.wake}
}

func (x *Exchange) end(why Reason) Do {
	x.result.Reason = why
	x.result.Complete = why == ReasonNone && x.result.Moving == 0 && x.result.Damaged == 0
	x.waiting, x.then, x.synced, x.wake = nil, nil, nil, 0
	if why != ReasonNone {
		x.result.Resume = x.at
	}
	r := x.result
	if !x.open {
		return Do{Done: &r}
	}
	x.open = false
	return Do{Done: &r, Send: &Message{Kind: MsgEnd, Exchange: x.cfg.Exchange, Epoch: x.cfg.Epoch, Generation: x.cfg.Generation, Reason: why}}
}

// ask sends the next request.
func (x *Exchange) ask(now Duration, m Message) Do {
	x.step++
	m.Exchange, m.Step, m.Epoch, m.Generation, m.Thorough = x.cfg.Exchange, x.step, x.cfg.Epoch, x.cfg.Generation, x.cfg.Thorough
	x.waiting, x.resends = &m, 0
	return x.send(now)
}

func (x *Exchange) send(now Duration) Do {
	x.result.Out += x.waiting.Size()
	x.wake = now + answerWithin
	if !x.open {
		x.wake = now + openWithin
	}
	m := *x.waiting
	return Do{Send: &m, Wake: x.wake}
}

// Wake: the time of the last Do's Wake has come.
func (x *Exchange) Wake(now Duration) Do {
	switch {
	case x.wake == 0 || now < x.wake:
		return Do{Wake: x.wake}
	case x.waiting == nil:
		x.wake = 0
		x.settle = true
		return x.next(now)
	case x.resends >= maxResends || !x.open:
		return x.end(ReasonTimeout)
	}
	x.resends++
	return x.send(now)
}

// Receive takes a reply of the other end. One that nobody waits for is ignored.
func (x *Exchange) Receive(now Duration, m *Message) Do {
	w := x.waiting
	if w == nil || m.Exchange != x.cfg.Exchange || m.Step != w.Step || m.Kind != w.Kind+1 {
		return Do{Wake: x.wake}
	}
	x.result.In += m.Size()
	x.waiting, x.wake = nil, 0
	switch {
	case m.Reason != ReasonNone:
		return x.end(m.Reason)
	case m.Epoch != x.cfg.Epoch:
		return x.end(ReasonEpoch)
	case m.Generation != x.cfg.Generation:
		return x.end(ReasonGeneration)
	}
	switch m.Kind {
	case MsgOpenReply:
		return x.opened(now, w, m)
	case MsgDigestsReply:
		if x.settle {
			return x.rechecked(now, w, m)
		}
		return x.descend(now, m.Digests)
	case MsgCompareReply:
		return x.compared(now, w, m)
	case MsgLookReply:
		return x.lookedAt(now, m)
	case MsgFetchReply:
		return x.fetched(now, w, m)
	}
	return x.next(now) // a push has been synced
}

// read loads rows beside the shard.
func (x *Exchange) read(l Load, then func(now Duration, l *Loaded) Do) Do {
	x.then = then
	return Do{Load: &l}
}

// Loaded takes the rows that were asked for.
func (x *Exchange) Loaded(now Duration, l *Loaded) Do {
	then := x.then
	if x.then = nil; then == nil {
		return Do{Wake: x.wake}
	}
	if l.Err != nil {
		return x.end(ReasonRead)
	}
	for i := range l.Rows {
		if l.Rows[i].Damaged {
			x.result.Damaged++
		}
	}
	return then(now, l)
}

// apply merges what has come.
func (x *Exchange) apply(now Duration, rows []Row, then func(now Duration) Do) Do {
	if len(rows) == 0 {
		return then(now)
	}
	x.result.Received += uint64(len(rows))
	x.synced = then
	return Do{Apply: rows}
}

// Applied: the rows of the last Do are merged and durable, or were refused.
func (x *Exchange) Applied(now Duration, why Reason) Do {
	then := x.synced
	if x.synced = nil; then == nil {
		return Do{Wake: x.wake}
	}
	if why != ReasonNone {
		return x.end(why)
	}
	return then(now)
}

// push ships objects; the other end answers once they are synced there.
func (x *Exchange) push(now Duration, rows []Row) Do {
	x.result.Sent += uint64(len(rows))
	return x.ask(now, Message{Kind: MsgPush, Rows: rows})
}

// next is the next thing to do: what was found and has waited is settled, then more
// leaves are compared, then what was found waits.
func (x *Exchange) next(now Duration) Do {
	if x.settle {
		if do, more := x.settleNext(now); more {
			return do
		}
		x.settle = false
	}
	if len(x.pairs) < MaxPairs {
		if do, more := x.compareNext(now); more {
			return do
		}
	}
	if len(x.pairs) > 0 || len(x.direct) > 0 {
		if now >= x.ripe {
			x.settle = true
			return x.next(now)
		}
		x.wake = x.ripe
		return Do{Wake: x.wake}
	}
	return x.end(ReasonNone)
}

// settleNext gives leaves and keys their second look, one step each.
func (x *Exchange) settleNext(now Duration) (Do, bool) {
	switch {
	case len(x.wanted) > 0:
		rows := x.wanted
		x.wanted = nil
		return x.push(now, rows), true
	case x.ship != nil:
		return x.shipNext(now), true
	case len(x.direct) > 0 && !x.sure:
		leaves := make([]uint16, len(x.direct))
		for i := range x.direct {
			leaves[i] = x.direct[i].leaf
		}
		return x.ask(now, Message{Kind: MsgDigests, Level: LeafTier, Nodes: leaves}), true
	case len(x.direct) > 0:
		return x.shipLeaves(now), true
	case len(x.batch) > 0:
		return x.look(now), true
	case len(x.pairs) > 0:
		return x.loadPairs(), true
	}
	return Do{}, false
}

// opened: the roots are equal, or the way down begins.
// Equal is what the other end found so: this tree may have moved since.
func (x *Exchange) opened(now Duration, asked, m *Message) Do {
	if len(m.Digests) == 1 && m.Digests[0] == asked.Digests[0] {
		x.result.Equal = true
		return x.end(ReasonNone)
	}
	if len(m.Digests) != 1+fanout {
		return x.end(ReasonGarbled)
	}
	x.open = true
	x.level, x.nodes = 1, children([]uint16{0})
	return x.descend(now, m.Digests[1:])
}

// descend goes on with the nodes that differ. At the leaves those that one end does
// not have at all are put aside: they will be shipped whole.
func (x *Exchange) descend(now Duration, digests []Digest) Do {
	if len(digests) != len(x.nodes) {
		return x.end(ReasonGarbled)
	}
	rest := make([]uint16, 0, len(x.nodes)) // the question may wait to be sent once more
	for i, n := range x.nodes {
		if mine := x.tree.Node(x.level, n); mine != digests[i] {
			rest = append(rest, n)
			if x.level == LeafTier {
				x.differs(n, mine, digests[i])
			}
		}
	}
	if x.level < LeafTier && len(rest) > 0 {
		x.level, x.nodes = x.level+1, children(rest)
		return x.ask(now, Message{Kind: MsgDigests, Level: uint8(x.level), Nodes: x.nodes})
	}
	x.nodes = nil
	x.ripen(now)
	return x.next(now)
}

func (x *Exchange) differs(leaf uint16, mine, theirs Digest) {
	if mine.Keys == 0 || theirs.Keys == 0 {
		x.direct = append(x.direct, direct{leaf, mine, theirs})
		return
	}
	x.theirs[leaf] = theirs
	x.comp.add(leaf)
}

// Estimate is about how many keys are still known to differ.
func (x *Exchange) Estimate() uint64 {
	n := uint64(len(x.pairs) + len(x.batch) + x.comp.len())
	for i := range x.direct {
		n += uint64(x.direct[i].mine.Keys + x.direct[i].theirs.Keys)
	}
	return n
}

// find is the place of a key among rows in order, or where it would be.
func find(rows []Row, at Pos) (int, bool) {
	return slices.BinarySearchFunc(rows, at, func(r Row, p Pos) int { return r.Pos().Compare(p) })
}

// ordered checks what a peer says about rows: in order, behind after, up to upto.
func ordered(rows []Row, after, upto Pos) bool {
	for i := range rows {
		p := rows[i].Pos()
		if p.Compare(after) <= 0 || p.Compare(upto) > 0 {
			return false
		}
		after = p
	}
	return true
}

// keysOf is the rows as names, to be loaded.
func keysOf(rows []Row) []Row {
	out := make([]Row, len(rows))
	for i := range rows {
		out[i] = Row{Bucket: rows[i].Bucket, Key: rows[i].Key, Hash: rows[i].Hash}
	}
	return out
}

func sameKey(a, b *Row) bool {
	return a.Bucket == b.Bucket && a.Hash == b.Hash && string(a.Key) == string(b.Key)
}
