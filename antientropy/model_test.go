package antientropy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// replica is the dumb one: objects in a map, a tree that follows them, durable state
// that lags by batches.
type replica struct {
	t       testing.TB
	name    string
	objects map[string]*version.Object
	durable map[string]*version.Object
	queue   []stagedKey // not durable yet, in order
	seq     uint64      // of the newest staged batch
	synced  uint64
	tree    *Tree
	epoch   uint64
	gen     uint64
	clock   version.Vector // purge clock
	guards  bool
	refuse  Reason
	damaged map[string]bool
	read    uint64 // leaf rows and records, by the loads
	merged  map[string]int
	sizes   func(l *Load) (rows, bytes int)
	leaves  [Leaves][]Row // leaf rows, durable ones
}

const bucket = hashring.BucketID(1)

func newReplica(t testing.TB, name string) *replica {
	return &replica{t: t, name: name, objects: map[string]*version.Object{}, durable: map[string]*version.Object{}, tree: EmptyTree(),
		epoch: 1, damaged: map[string]bool{}, merged: map[string]int{}}
}

// hashOf places a key; one/... are all in one leaf.
func hashOf(key string) uint64 {
	h := hashring.Hash("b", []byte(key))
	if strings.HasPrefix(key, "one/") {
		h = h/Leaves*Leaves + 7
	}
	return h
}

// stage replaces a key's object; it is durable once sync has come to it.
func (r *replica) stage(key string, o *version.Object) {
	r.seq++
	r.tree.Put(bucket, hashOf(key), r.objects[key].Hash(), o.Hash(), r.seq)
	if r.objects[key] = o; o == nil {
		delete(r.objects, key)
	}
	r.queue = append(r.queue, stagedKey{key, o})
}

type stagedKey struct {
	key    string
	object *version.Object
}

// sync makes the oldest n staged changes durable.
func (r *replica) sync(n int) {
	for ; n > 0 && len(r.queue) > 0; n-- {
		s := r.queue[0]
		r.queue = r.queue[1:]
		r.synced++
		if r.durable[s.key] = s.object; s.object == nil {
			delete(r.durable, s.key)
		}
		r.index(s.key, s.object)
	}
}

// index keeps the leaf rows in order.
func (r *replica) index(key string, o *version.Object) {
	row := Row{Bucket: bucket, Key: []byte(key), Hash: hashOf(key), Version: o.Hash()}
	rows := &r.leaves[LeafOf(row.Hash)]
	i, ok := find(*rows, row.Pos())
	switch {
	case o == nil && ok:
		*rows = slices.Delete(*rows, i, i+1)
	case o == nil:
	case ok:
		(*rows)[i] = row
	default:
		*rows = slices.Insert(*rows, i, row)
	}
}

// wipe empties the replica: a new disk.
func (r *replica) wipe() {
	r.objects, r.durable, r.queue, r.tree = map[string]*version.Object{}, map[string]*version.Object{}, nil, EmptyTree()
	r.leaves = [Leaves][]Row{}
}

func (r *replica) syncAll() { r.sync(len(r.queue)) }

// merge joins an incoming object through the guard.
func (r *replica) merge(key string, in *version.Object) {
	local := r.objects[key]
	if r.guards {
		if in = Strip(in, local, r.clock); in == nil {
			return
		}
	}
	if out := version.Join(local, in); !version.Same(out, local) {
		r.stage(key, out)
	}
}

// fill stores an object as if it had been there for long.
func (r *replica) fill(key string, o *version.Object) {
	r.tree.Put(bucket, hashOf(key), r.objects[key].Hash(), o.Hash(), 0)
	r.objects[key], r.durable[key] = o, o
	r.index(key, o)
}

// load is what a store does: slices; leaf rows as they are durable, objects as the core
// has them by then.
func (r *replica) load(l *Load) *Loaded {
	out := &Loaded{}
	maxRows, maxBytes := l.MaxRows, l.MaxBytes
	if r.sizes != nil {
		maxRows, maxBytes = r.sizes(l)
	}
	size := 0
	full := func() bool {
		if len(out.Rows) > 0 && (len(out.Rows) >= maxRows || size >= maxBytes) {
			out.More = true
		}
		return out.More
	}
	if l.Kind == LoadObjects {
		for _, k := range l.Keys {
			if full() {
				break
			}
			o := r.objects[string(k.Key)]
			row := Row{Bucket: k.Bucket, Key: k.Key, Hash: k.Hash, Version: o.Hash(), Object: o, Damaged: r.damaged[string(k.Key)]}
			if row.Damaged {
				row.Version, row.Object = 0, nil
			}
			size += int(row.RecordSize())
			r.read += row.RecordSize()
			out.Rows = append(out.Rows, row)
		}
		return out
	}
	for _, leaf := range l.Leaves {
		for i := range r.leaves[leaf] {
			row := &r.leaves[leaf][i]
			if p := row.Pos(); p.Compare(l.After) <= 0 || p.Compare(l.Upto) > 0 {
				continue
			}
			if full() {
				return out
			}
			size += int(row.LeafRowSize())
			r.read += row.LeafRowSize()
			out.Rows = append(out.Rows, *row)
			out.Last = row.Pos()
		}
	}
	return out
}

func (r *replica) view() View {
	return View{Tree: r.tree, Epoch: r.epoch, Generation: r.gen, Refuse: r.refuse}
}

// failing is what a pairing needs of a test.
type failing interface {
	Helper()
	Fatalf(format string, args ...any)
}

// pairing runs one exchange between two replicas over a rough network.
type pairing struct {
	t       failing
	a, b    *replica
	x       *Exchange
	now     Duration
	rng     *rand.Rand
	loss    float64
	between func() // something else happens between two steps
	toA     []*Message
	toB     []*Message
	nodes   map[*Message][]uint16 // of messages, as they were when they were sent: they may leave later
	trace   func(format string, args ...any)
	result  *Result
	steps   int
	shipped map[string]int // objects that travelled, by key
}

func newPairing(t testing.TB, a, b *replica) *pairing {
	return &pairing{t: t, a: a, b: b, rng: rand.New(rand.NewPCG(1, 2)), trace: func(string, ...any) {}, shipped: map[string]int{}, nodes: map[*Message][]uint16{}}
}

func (p *pairing) send(to *[]*Message, name string, m *Message) {
	p.trace("%s  %v", name, m)
	if m.Kind == MsgPush || m.Kind == MsgFetchReply || m.Kind == MsgLookReply {
		for i := range m.Rows {
			p.shipped[string(m.Rows[i].Key)]++
		}
	}
	if p.rng.Float64() < p.loss {
		p.trace("   lost")
		return
	}
	p.nodes[m] = slices.Clone(m.Nodes)
	*to = append(*to, m)
	if p.rng.Float64() < p.loss {
		*to = append(*to, m) // twice
	}
}

// run is one exchange led by a, to its end.
func (p *pairing) run(cfg Config) Result {
	p.t.Helper()
	cfg.Epoch, cfg.Generation, cfg.Exchange = p.a.epoch, p.a.gen, p.rng.Uint64()
	p.result = nil
	x, do := Start(cfg, p.a.tree, p.now)
	p.x = x
	p.lead(do)
	for p.steps = 0; p.result == nil; p.steps++ {
		if p.steps > 1_000_000 {
			p.t.Fatalf("no end: %s, %+v", x.Doing(), x.Result())
		}
		if p.between != nil {
			p.between()
		}
		switch {
		case p.result != nil: // it was stopped
		case len(p.toB) > 0 && (len(p.toA) == 0 || p.rng.IntN(2) == 0):
			p.serve(p.take(&p.toB))
		case len(p.toA) > 0:
			p.lead(x.Receive(p.now, p.take(&p.toA)))
		default:
			if x.wake == 0 {
				p.t.Fatalf("stuck: %s", x.Doing())
			}
			if p.between == nil || x.wake-p.now < 10*time.Millisecond {
				p.now = max(p.now, x.wake)
			} else {
				p.now += 10 * time.Millisecond // so that something can happen meanwhile
			}
			p.lead(x.Wake(p.now))
		}
	}
	return *p.result
}

// take removes any of the messages as it leaves now.
func (p *pairing) take(q *[]*Message) *Message {
	m := take(p.rng, q)
	if !slices.Equal(m.Nodes, p.nodes[m]) {
		p.t.Fatalf("%v asked for %v when it was sent, and for %v when it left", m, p.nodes[m], m.Nodes)
	}
	return m
}

// take removes any of the messages: they overtake each other.
func take(rng *rand.Rand, q *[]*Message) *Message {
	i := rng.IntN(len(*q))
	m := (*q)[i]
	*q = slices.Delete(*q, i, i+1)
	return m
}

func (p *pairing) lead(do Do) {
	switch {
	case do.Done != nil:
		p.result = do.Done
		if do.Send != nil {
			p.trace("a  %v", do.Send)
		}
		p.trace("a  done: %s", drawResult(*do.Done))
	case do.Load != nil:
		p.lead(p.x.Loaded(p.now, p.a.load(do.Load)))
	case do.Apply != nil:
		for _, r := range do.Apply {
			p.a.merge(string(r.Key), r.Object)
			p.a.merged[string(r.Key)]++
		}
		p.a.syncAll()
		p.lead(p.x.Applied(p.now, ReasonNone))
	case do.Send != nil:
		p.send(&p.toB, "a", do.Send)
	}
}

func (p *pairing) serve(m *Message) {
	s, do := Serve(p.b.view(), m)
	for do.Send == nil {
		switch {
		case do.Load != nil:
			do = s.Loaded(p.b.view(), p.b.load(do.Load))
		case do.Apply != nil:
			for _, r := range do.Apply {
				p.b.merge(string(r.Key), r.Object)
				p.b.merged[string(r.Key)]++
			}
			p.b.syncAll()
			do = s.Applied(ReasonNone)
		default:
			p.t.Fatalf("nothing to do for %v", m)
		}
	}
	p.send(&p.toA, "b", do.Send)
}

func drawResult(r Result) string {
	s := fmt.Sprintf("differed %d sent %d received %d moving %d damaged %d", r.Differed, r.Sent, r.Received, r.Moving, r.Damaged)
	switch {
	case r.Equal:
		s = "equal"
	case r.Complete:
		s += ", complete"
	}
	if r.Reason != ReasonNone {
		s += ", " + r.Reason.String()
	}
	return s
}

// writer mints dots as the coordinators of the real thing do.
type writer struct{ n uint64 }

func (w *writer) write(actor version.Actor, local *version.Object, value string, dead bool) *version.Object {
	w.n++
	s := version.Sibling{Dot: version.Dot{Actor: actor, Counter: w.n}, HLC: version.HLC(w.n), Value: []byte(value), Tombstone: dead}
	var seen version.Vector
	if local != nil {
		seen = local.Context
	}
	return version.Write(local, seen, s)
}

func sameObjects(a, b *replica) string {
	for key, o := range a.objects {
		if !version.Same(o, b.objects[key]) {
			return fmt.Sprintf("%s: %s has %v, %s has %v", key, a.name, o, b.name, b.objects[key])
		}
	}
	for key, o := range b.objects {
		if a.objects[key] == nil {
			return fmt.Sprintf("%s: only %s has %v", key, b.name, o)
		}
	}
	return ""
}
