package sim

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

// The network between two nodes is one connection, as node/peer keeps it: in order,
// lost as a whole when it breaks, and then both ends are told. On top of that the
// faults may lose, double and reorder single messages, which no TCP does: the
// protocol must bear that too.
const (
	silentAfter = 3 * time.Second // a peer that hears nothing ends the connection
	dialTimeout = 3 * time.Second // a dial into a cut link
	backoffMax  = time.Second     // between dials
	heldMax     = 4096            // messages that wait for a connection; more are lost
)

// verdict of a scenario on a message.
type verdict uint8

const (
	deliver verdict = iota
	drop
	hold
)

// parcel is a message on its way: its bytes, as the codec wrote them.
type parcel struct {
	from  hashring.SID
	pair  *pair
	epoch uint32 // of the connection; 0: outlives it
	bytes []byte
}

// pair is the connection of two nodes, lo and hi.
type pair struct {
	lo, hi  *node
	up      bool
	dialing bool
	epoch   uint32
	since   uint32 // changes when the cuts do, so that an old look at the silence is void
	cut     [2]int // by direction: faults that let nothing pass
	tries   int
	last    [2]time.Duration // latest arrival, for the order
	held    [2][][]byte      // stuck in a cut connection, or waiting for one
}

// wireFaults are the faults of single messages, each a chance by directed link (from
// * nodes + to), or of all links.
type wireFaults struct {
	loss, dup, reorder, slow, ghost []float64
	slowBy                          time.Duration
	late                            int // >0: what was under way in a connection that broke may still arrive
	sparse                          int // >0: see thin
}

func (w *World) link(a, b *node) *pair {
	if a.idx > b.idx {
		a, b = b, a
	}
	p := &w.pairs[a.idx*len(w.nodes)+b.idx]
	if p.lo == nil {
		p.lo, p.hi, p.up, p.epoch = a, b, true, 1
	}
	return p
}

func (p *pair) dir(from *node) int {
	if from == p.lo {
		return 0
	}
	return 1
}

func (p *pair) other(n *node) *node {
	if n == p.lo {
		return p.hi
	}
	return p.lo
}

// send takes a message that a shard of n emitted for another node.
func (w *World) send(n *node, m *core.Message) {
	to := w.holder(m.To)
	if to == nil {
		return
	}
	if w.onSend != nil {
		switch w.onSend(n, to, m) {
		case drop:
			w.note("%s -> %s %s lost%s", n.name, to.name, m.Kind, drawStrong(m))
			return
		case hold:
			w.note("%s -> %s %s held%s", n.name, to.name, m.Kind, drawStrong(m))
			return
		}
	}
	if w.thin(to, m) {
		return
	}
	w.buf = wire.AppendMessage(w.buf[:0], m)
	b := append(make([]byte, 0, len(w.buf)), w.buf...)
	if w.telling() {
		w.note("%s -> %s %s p%d #%x %v%s", n.name, to.name, m.Kind, m.Partition, m.ID&0xffff, m.Reason, drawObject(m.Object)+drawStrong(m))
	}
	p := w.link(n, to)
	d := p.dir(n)
	switch {
	case p.up && p.cut[d] == 0:
		w.carry(p, d, b)
	case len(p.held[d]) >= heldMax:
	default:
		p.held[d] = append(p.held[d], b)
		if !p.up {
			w.dial(p)
		}
	}
}

// carry puts a message on the road of an open connection.
func (w *World) carry(p *pair, d int, b []byte) {
	from, to := p.lo, p.hi
	if d == 1 {
		from, to = to, from
	}
	r := w.netRand
	delay := around(r, w.draw.NetDelay)
	if w.draw.NetTail > 0 && r.IntN(100) == 0 {
		delay += between(r, 0, w.draw.NetTail)
	}
	at := max(w.now+delay, p.last[d])
	epoch := p.epoch
	if f := &w.wire; f.loss != nil {
		i := from.idx*len(w.nodes) + to.idx
		if chance(r, f.slow[i]) { // and all that comes behind it on this connection
			at = max(at, w.now+between(r, 0, f.slowBy))
		}
		if chance(r, f.loss[i]) {
			w.probe.hit(pMessageLost)
			return
		}
		if chance(r, f.dup[i]) && !once(b) {
			w.probe.hit(pMessageTwice)
			w.queue.put(event{at: at + between(r, 0, 200*time.Millisecond), kind: evArrive, n: to, inc: to.inc, p: &parcel{from.sid, p, epoch, b}})
		}
		if chance(r, f.ghost[i]) && !once(b) {
			w.probe.hit(pGhost)
			w.queue.put(event{at: at + between(r, 0, time.Minute), kind: evArrive, n: to, inc: to.inc, p: &parcel{from.sid, p, 0, b}})
		}
		if chance(r, f.reorder[i]) { // overtaken, and not part of the order
			w.probe.hit(pMessageReordered)
			w.queue.put(event{at: at + between(r, 0, 500*time.Millisecond), kind: evArrive, n: to, inc: to.inc, p: &parcel{from.sid, p, 0, b}})
			return
		}
	}
	p.last[d] = at
	w.queue.put(event{at: at, kind: evArrive, n: to, inc: to.inc, p: &parcel{from.sid, p, epoch, b}})
}

// once tells that a message may come at most once: a forward is the one kind that is
// no join and no question. TCP keeps that, and a forwarder asks an owner again only
// when it has declined.
func once(b []byte) bool { return core.Kind(b[1]) == core.MsgForward }

// arrive hands a message to its node. What was under way in a connection that broke
// is lost.
func (w *World) arrive(n *node, c *parcel) {
	if !n.up || c.epoch != 0 && c.epoch != c.pair.epoch && (w.wire.late == 0 || w.netRand.IntN(2) == 0) {
		return
	}
	m, err := wire.DecodeMessage(c.bytes)
	if err != nil {
		w.violate(Violation{Check: "codec", Kind: "MALFORMED", Detail: "a message of ours is refused: " + err.Error()})
		return
	}
	m.From, m.To = c.from, n.sid
	w.mixBytes(c.bytes)
	n.deliver(&m)
}

// breakPair ends a connection now: what is on its way is lost, both ends are told.
func (w *World) breakPair(p *pair) {
	if !p.up {
		return
	}
	w.note("connection %s - %s breaks", p.lo.name, p.hi.name)
	w.probe.hit(pConnectionBroken)
	p.up, p.held, p.tries = false, [2][][]byte{}, 0
	p.epoch++
	for _, n := range [2]*node{p.lo, p.hi} {
		w.tellDown(n, p.other(n), between(w.netRand, 0, 5*time.Millisecond))
	}
}

func (w *World) tellDown(n, of *node, in time.Duration) {
	if n.up {
		w.after(in, event{kind: evDown, n: n, inc: n.inc, x: uint32(of.idx)})
	}
}

// dial tries to connect, once at a time, with a growing pause between the tries.
func (w *World) dial(p *pair) {
	if p.dialing {
		return
	}
	p.dialing = true
	pause := min(10*time.Millisecond<<min(p.tries, 7), backoffMax)
	if p.tries == 0 {
		pause = time.Millisecond
	}
	p.tries++
	if p.cut[0]+p.cut[1] > 0 {
		pause += dialTimeout
	}
	w.after(around(w.netRand, pause), event{kind: evDial, p: p})
}

func (w *World) onDial(p *pair) {
	p.dialing = false
	if p.up {
		return
	}
	if p.lo.up && p.hi.up && p.lo.paused == 0 && p.hi.paused == 0 && p.cut[0]+p.cut[1] == 0 {
		w.connect(p)
		return
	}
	for d, n := range [2]*node{p.lo, p.hi} {
		if len(p.held[d]) > 0 { // what waited is dropped, and its sender told
			p.held[d] = nil
			w.tellDown(n, p.other(n), 0)
		}
	}
}

func (w *World) connect(p *pair) {
	p.up, p.tries = true, 0
	p.epoch++
	w.flush(p)
}

// flush sends what waited for the connection or was stuck in it.
func (w *World) flush(p *pair) {
	for d := range 2 {
		if p.cut[d] > 0 {
			continue
		}
		waiting := p.held[d]
		p.held[d] = nil
		for _, b := range waiting {
			w.carry(p, d, b)
		}
	}
}

// cutLink adds (or takes away) one reason why nothing passes from a to b.
func (w *World) cutLink(a, b *node, by int) {
	if a == b {
		return
	}
	p := w.link(a, b)
	p.cut[p.dir(a)] += by
	w.changed(p)
}

// changed looks at a pair whose road has changed.
func (w *World) changed(p *pair) {
	p.since++
	quiet := p.cut[0]+p.cut[1] > 0 || p.lo.paused+p.hi.paused > 0
	switch {
	case p.up && quiet:
		w.after(silentAfter+between(w.netRand, 0, 500*time.Millisecond), event{kind: evSilence, p: p, x: p.since})
	case p.up:
		w.flush(p)
	case !quiet && (len(p.held[0]) > 0 || len(p.held[1]) > 0):
		w.dial(p)
	}
}

func (w *World) onSilence(p *pair, since uint32) {
	if p.since == since && p.up {
		w.breakPair(p)
	}
}

// passes tells whether a message could go from a to b now.
func (w *World) passes(a, b *node) bool {
	if a == b {
		return true
	}
	p := w.link(a, b)
	return p.cut[p.dir(a)] == 0
}

// talks tells whether a and b could speak with each other.
func (w *World) talks(a, b *node) bool {
	return a.running() && b.running() && w.passes(a, b) && w.passes(b, a)
}
