package check

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/quoratedb/quorate/quorum/version"
)

// storeOptions shape a run of the reference store.
type storeOptions struct {
	steps, clients, keys int
	blind                int // of 10 writes, so many without a context
	resend               bool
}

// store is a correct, eventually consistent store in small: three replicas of each
// key, any of them coordinates, versions are joined, everything is delayed at random,
// answers get lost. It writes down what clients see, and the truth.
type store struct {
	storeOptions
	r        *rand.Rand
	now      Time
	replicas []map[string]*version.Object
	tokens   []map[string]token // by client and key
	busy     []bool
	pending  []*request
	h        []Op
	minted   []mintInfo
	written  int
}

type mintInfo struct {
	dot   version.Dot
	op    int
	value string
}

// token is what a client carries, and what it stands for.
type token struct {
	seen   version.Vector
	values []string
	gone   []string
	have   bool
}

// request is an operation under way.
type request struct {
	op     int
	client int // -1: given up
	at     int // coordinator
	with   token
	mint   *version.Object
	reply  token
	joined *version.Object
	met    map[int]bool // replicas that answered or hold it
	need   int
}

const replicas = 3

func runStore(r *rand.Rand, o storeOptions) *store {
	s := &store{storeOptions: o, r: r, busy: make([]bool, o.clients)}
	for range replicas {
		s.replicas = append(s.replicas, map[string]*version.Object{})
	}
	for range o.clients {
		s.tokens = append(s.tokens, map[string]token{})
	}
	for range o.steps {
		s.now += Time(r.IntN(3)) * ms
		switch n := r.IntN(10); {
		case n < 3:
			s.start()
		case n < 4:
			s.gossip()
		case len(s.pending) > 0:
			s.advance(s.pending[r.IntN(len(s.pending))])
		}
	}
	for _, q := range slices.Clone(s.pending) { // whoever still waits gives up
		if q.client >= 0 {
			s.giveUp(q)
		}
	}
	return s
}

func (s *store) gossip() {
	from, to := s.r.IntN(replicas), s.r.IntN(replicas)
	for k, o := range s.replicas[from] {
		s.replicas[to][k] = version.Join(s.replicas[to][k], o)
	}
}

func (s *store) start() {
	c := s.r.IntN(s.clients)
	if s.busy[c] {
		return
	}
	s.busy[c] = true
	o := Op{Client: c, Bucket: "b", Key: fmt.Sprint(s.r.IntN(s.keys)), Call: s.now, Outcome: Unknown}
	o.Level = []Level{One, Quorum, Strict, Strict, Session}[s.r.IntN(5)]
	q := &request{op: len(s.h), client: c, at: s.r.IntN(replicas), met: map[int]bool{}, need: 1 + s.r.IntN(2)}
	if o.Level == Strict {
		q.need = 2
	}
	mine := s.tokens[c][o.Key]
	switch n := s.r.IntN(10); {
	case n < 5:
		if o.Level == Session {
			if mine.have {
				q.with, o.Session, o.SessionGone = mine, mine.values, mine.gone
			} else {
				o.Level = One
			}
		}
	case n < 9:
		s.written++
		o.Kind, o.Value = Write, fmt.Sprintf("v%d", s.written)
	default:
		o.Kind = Delete
	}
	if o.Kind != Read && s.r.IntN(10) >= s.blind {
		o.HasContext = true
		if s.r.IntN(8) > 0 { // else an empty context: a sibling on purpose
			q.with, o.Context = mine, mine.values
		}
	}
	s.h = append(s.h, o)
	s.pending = append(s.pending, q)
}

// advance does one more thing for a request.
func (s *store) advance(q *request) {
	o := &s.h[q.op]
	if q.client >= 0 && s.r.IntN(25) == 0 {
		s.giveUp(q)
		return
	}
	switch {
	case o.Kind == Read:
		s.read(q, o)
	case q.mint == nil && o.Kind == Delete && !o.HasContext && len(q.met) < 2:
		s.gather(q, o)
	case q.mint == nil:
		s.mint(q, o)
	case s.resend && !o.Resent && o.Kind == Write && s.r.IntN(10) == 0: // E16: minted again, elsewhere
		o.Resent = true
		q.at, q.met = s.r.IntN(replicas), map[int]bool{}
		s.mint(q, o)
	default:
		to := s.r.IntN(replicas)
		s.replicas[to][o.Key] = version.Join(s.replicas[to][o.Key], q.mint)
		q.met[to] = true
	}
	if o.Kind != Read && q.mint != nil && len(q.met) >= q.need {
		s.finish(q, o)
	}
}

// gather joins one more replica's object.
func (s *store) gather(q *request, o *Op) {
	at := s.r.IntN(replicas)
	q.met[at] = true
	q.joined = version.Join(q.joined, s.replicas[at][o.Key])
}

func (s *store) mint(q *request, o *Op) {
	local := s.replicas[q.at][o.Key]
	seen := q.with.seen
	switch {
	case o.HasContext:
	case o.Kind == Delete:
		seen = contextOf(q.joined)
	case local != nil:
		seen = local.Context
	}
	d := version.Dot{Actor: version.Actor(len(s.minted) + 1), Counter: 1} // an actor for each: contexts are exact
	m := Mint{ID: d.String() + "/" + fmt.Sprint(len(s.minted))}
	for i, other := range s.minted {
		if seen.Covers(other.dot) {
			m.Covers = append(m.Covers, s.idOf(i))
		}
	}
	s.minted = append(s.minted, mintInfo{d, q.op, o.Value})
	for i := range o.Mints {
		o.Mints[i].Acked = false
	}
	m.Acked = true // the last one answers
	o.Mints = append(o.Mints, m)
	q.mint = version.Write(local, seen, version.Sibling{Dot: d, Tombstone: o.Kind == Delete, Value: []byte(o.Value)})
	s.replicas[q.at][o.Key] = q.mint
	q.met = map[int]bool{q.at: true}
	q.reply = token{seen: seen.With(d), have: true, gone: o.Context}
	if o.Kind == Write {
		q.reply.values = []string{o.Value}
	}
}

func (s *store) idOf(i int) string { return s.minted[i].dot.String() + "/" + fmt.Sprint(i) }

// read joins what replicas hold; a strict one writes it back before it answers.
func (s *store) read(q *request, o *Op) {
	s.gather(q, o)
	if len(q.met) < q.need {
		return
	}
	if o.Level == Session && !contextOf(q.joined).Dominates(q.with.seen) {
		if len(q.met) == replicas {
			o.Outcome, o.Return = Failed, s.now
			s.drop(q)
		}
		return
	}
	if o.Level == Strict {
		for at := range q.met {
			s.replicas[at][o.Key] = version.Join(s.replicas[at][o.Key], q.joined)
		}
	}
	q.reply = token{seen: contextOf(q.joined), have: true, values: s.values(q.joined)}
	o.Read = q.reply.values
	s.finish(q, o)
}

// values are the live ones, those of one write shown once.
func (s *store) values(o *version.Object) (out []string) {
	if o == nil {
		return nil
	}
	for _, x := range o.Siblings {
		if v := string(x.Value); !x.Tombstone && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func (s *store) finish(q *request, o *Op) {
	if q.client >= 0 {
		o.Outcome, o.Return = OK, s.now
		s.tokens[q.client][o.Key] = q.reply
	}
	s.drop(q)
}

func (s *store) drop(q *request) {
	if q.client >= 0 {
		s.busy[q.client] = false
	}
	s.pending = slices.DeleteFunc(s.pending, func(p *request) bool { return p == q })
}

// giveUp: the client leaves; the write may go on by itself.
func (s *store) giveUp(q *request) {
	o := &s.h[q.op]
	o.Return = s.now
	if o.Kind == Read {
		o.Outcome = Failed
		s.drop(q)
		return
	}
	s.busy[q.client] = false
	q.client = -1
}

// left is the join of everything, as values and as ids of versions.
func (s *store) left() (values, ids map[KeyRef][]string) {
	values, ids = map[KeyRef][]string{}, map[KeyRef][]string{}
	for k := range s.keys {
		key := fmt.Sprint(k)
		var all *version.Object
		for _, r := range s.replicas {
			all = version.Join(all, r[key])
		}
		ref := KeyRef{"b", key}
		values[ref], ids[ref] = s.values(all), nil
		if all != nil {
			for _, x := range all.Siblings {
				ids[ref] = append(ids[ref], s.idOf(int(x.Dot.Actor)-1))
			}
		}
	}
	return values, ids
}

func contextOf(o *version.Object) version.Vector {
	if o == nil {
		return nil
	}
	return o.Context
}
