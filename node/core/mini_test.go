package core

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// TestMiniSim plays many short random lives of a small cluster: clients with
// contexts, crashes that lose what was not synced, lost and late messages, liveness
// views that lie. In the end all is healed, handed off and read twice from all
// owners, and held against the causal ground truth.
//
//	go test ./node/core -run TestMiniSim                  the usual seeds
//	CORE_SEED=17 go test ./node/core -run TestMiniSim -v  one of them, told in full
//	CORE_RUNS=100000 go test ./node/core -run TestMiniSim more of them
func TestMiniSim(t *testing.T) {
	if s := os.Getenv("CORE_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		m, err := play(seed, true, false)
		t.Log("\n" + strings.Join(m.w.log, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	runs := uint64(2000)
	if s := os.Getenv("CORE_RUNS"); s != "" {
		runs, _ = strconv.ParseUint(s, 10, 64)
	}
	var next atomic.Uint64
	var total reached
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := next.Add(1); seed <= runs && !t.Failed(); seed = next.Add(1) {
				m, err := play(seed, false, false)
				if err != nil {
					t.Errorf("seed %d: %v\nplay it again: CORE_SEED=%d go test ./node/core -run TestMiniSim -v", seed, err, seed)
				}
				mu.Lock()
				total.add(m.reached)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d runs: %+v", runs, total)
	if !t.Failed() && runs >= 500 {
		total.check(t)
	}
}

// The same seed tells the same story twice.
func TestMiniSimReplays(t *testing.T) {
	for seed := uint64(1); seed <= 30; seed++ {
		a, errA := play(seed, false, true)
		b, errB := play(seed, false, true)
		if a.w.trace.Sum64() != b.w.trace.Sum64() || fmt.Sprint(errA) != fmt.Sprint(errB) {
			t.Fatalf("seed %d: two stories", seed)
		}
	}
}

// reached says what the random lives came across; a run that never gets somewhere
// shows nothing about it.
type reached struct {
	Acked, Unknown, NotApplied, Reads, Siblings, Twice, Hints, Repairs, Crashes, Forwards, Gone, Fallback int
}

func (r *reached) add(o reached) {
	r.Acked += o.Acked
	r.Unknown += o.Unknown
	r.NotApplied += o.NotApplied
	r.Reads += o.Reads
	r.Siblings += o.Siblings
	r.Twice += o.Twice
	r.Hints += o.Hints
	r.Repairs += o.Repairs
	r.Crashes += o.Crashes
	r.Forwards += o.Forwards
	r.Gone += o.Gone
	r.Fallback += o.Fallback
}

func (r *reached) check(t *testing.T) {
	for what, n := range map[string]int{"acked": r.Acked, "unknown": r.Unknown, "not applied": r.NotApplied, "reads": r.Reads, "siblings": r.Siblings,
		"minted twice": r.Twice, "hints delivered": r.Hints, "read repairs": r.Repairs, "crashes": r.Crashes, "forwards": r.Forwards, "clients cut off": r.Gone,
		"fallback coordinators": r.Fallback} {
		if n < 20 {
			t.Errorf("only %d times: %s", n, what)
		}
	}
}

// mini is one random life.
type mini struct {
	w       *world
	truth   *truth
	bucket  string
	keys    []string
	tokens  map[string]*token // client and key
	ids     uint64
	lossy   float64
	ttl     bool // some writes expire
	deletes int  // of 20 requests, more than 3
	blocked map[[2]*wnode]fate
	errs    []error
	writes  []*attempt
	reached reached
	quiet   func() // what else must come to its end when all is healed
}

// storyT turns a failed world into a panic that names it.
type storyT struct{ testing.TB }

func (storyT) Helper()                           {}
func (storyT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (storyT) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (storyT) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func play(seed uint64, logs, traced bool) (m *mini, err error) {
	names := "abcdef"[:3+seed%4]
	w := emptyWorld(storyT{}, names, seed)
	m = &mini{w: w, tokens: map[string]*token{}, blocked: map[[2]*wnode]fate{}}
	if logs {
		w.log = []string{}
	}
	if traced {
		w.trace = fnv.New64a()
	}
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(runtime.Error); ok {
				panic(fmt.Sprintf("seed %d: %v", seed, p))
			}
			err = fmt.Errorf("%v", p)
		}
	}()
	m.set(names, seed)
	for range 40 {
		m.act()
		w.run(m.pause())
		if len(m.errs) > 0 {
			return m, m.errs[0]
		}
	}
	return m, m.end()
}

func (m *mini) set(names string, seed uint64) {
	w, r := m.w, m.w.rng
	m.bucket = []string{"sloppy", "sloppy", "strict", "lww"}[r.IntN(4)]
	m.keys = []string{"k1", "k2", "k3"}[:1+r.IntN(3)]
	m.lossy = []float64{0, 0, 0.05, 0.2}[r.IntN(4)]
	slow := []int{0, 3, 40}[r.IntN(3)]
	w.delay = func() time.Duration { return time.Millisecond * time.Duration(1+r.IntN(1+slow)) }
	w.fate = m.fateOf
	if partitions := 1 + r.IntN(2); w.ring == nil {
		w.ring = hashring.NewRing(ringState(names, partitions, 3))
	}
	m.truth = newTruth(w)
	narrow := r.IntN(8) == 0
	for _, n := range w.nodes {
		if narrow { // room for a hint or two
			n.hintBytes = int64(1 + r.IntN(300))
		}
		w.start(n, true)
	}
}

func (m *mini) fateOf(from, to *wnode, _ *Message) fate {
	if f, ok := m.blocked[[2]*wnode{from, to}]; ok {
		return f
	}
	if m.lossy > 0 && m.w.rng.Float64() < m.lossy {
		return fate(1 + m.w.rng.IntN(2))
	}
	return deliver
}

func (m *mini) pause() time.Duration {
	switch r := m.w.rng; r.IntN(10) {
	case 0:
		return time.Duration(r.IntN(2500)) * time.Millisecond
	case 1, 2, 3:
		return time.Duration(r.IntN(100)) * time.Millisecond
	default:
		return time.Duration(r.IntN(5)) * time.Millisecond
	}
}

func (m *mini) anyNode() *wnode { return m.w.nodes[m.w.rng.IntN(len(m.w.nodes))] }

func (m *mini) act() {
	w, r, n := m.w, m.w.rng, m.anyNode()
	switch k := r.IntN(100); {
	case k < 68:
		if n.core != nil {
			m.client(n)
		}
	case k < 74:
		if n.core != nil {
			m.reached.Crashes++
			w.crash(n, r.IntN(2) == 0)
			n.skewMS = int64(r.IntN(2000)) - 1000
			if r.IntN(3) > 0 {
				w.tellDown(n)
			}
			if r.IntN(2) == 0 { // and is back at once
				w.start(n, r.IntN(2) == 0)
			}
		}
	case k < 84:
		if n.core == nil {
			w.start(n, r.IntN(2) == 0)
		} else {
			w.step(n, Event{Confirmed: true})
		}
	case k < 89: // gossip says anything
		alive, owners := "", r.IntN(3) > 0 // or that no owner of partition 0 is
		for i, o := range w.nodes {
			if r.IntN(3) > 0 && (owners || i > 2) {
				alive += o.name
			}
		}
		w.view(n.name, alive)
	case k < 90:
		w.step(n, Event{Space: Tri(1 + r.IntN(2))})
	case k < 94:
		if o := m.anyNode(); o != n {
			m.blocked[[2]*wnode{n, o}] = fate(1 + r.IntN(2))
		}
	case k < 96:
		clear(m.blocked)
	case k < 98:
		if n.holdSync = !n.holdSync; !n.holdSync {
			w.sync(n)
		}
	default: // what was held arrives late, in any order
		held := w.held
		w.held = nil
		r.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
		for _, p := range held {
			w.carry(w.bySID(p.m.From), p.to, p.m)
		}
	}
}

func (m *mini) client(n *wnode) {
	r := m.w.rng
	key := m.keys[r.IntN(len(m.keys))]
	holder := fmt.Sprint("client", r.IntN(3), key)
	req := &Request{Bucket: m.bucket, Key: []byte(key), Timeout: time.Duration(200+r.IntN(2000)) * time.Millisecond}
	switch k := r.IntN(20); {
	case k < 7:
		req.Op = OpGet
		if t := m.tokens[holder]; t != nil && r.IntN(3) == 0 {
			req.HasAfter, req.After = true, t.context
		}
		if m.bucket != "strict" && r.IntN(2) == 0 {
			req.R = 1
		}
	case k < 17-m.deletes:
		req.Op = OpPut
	default:
		req.Op = OpDelete
	}
	if req.Op == OpGet {
		m.watchRead(m.w.ask(n, req), key, holder)
		return
	}
	if m.ttl && req.Op == OpPut && r.IntN(6) == 0 {
		req.TTL = time.Duration(200+r.IntN(3000)) * time.Millisecond
	}
	m.ids++
	binary.BigEndian.PutUint64(req.ID[:], m.ids)
	req.Value = fmt.Appendf(nil, "v%d", m.ids)
	if m.bucket != "strict" && r.IntN(4) == 0 {
		req.W = 1
	}
	var with *token
	if t := m.tokens[holder]; t != nil && r.IntN(4) > 0 {
		with, req.HasContext, req.Context = t, true, t.context
	}
	m.write(n, req, key, holder, with)
}

// write asks and, when the answer is there, gives the client its new token.
func (m *mini) write(n *wnode, req *Request, key, holder string, with *token) {
	c := &call{req: req, node: n, began: m.w.now}
	a := m.truth.wrote(c, key, with)
	req.Waiter = c
	n.calls = append(n.calls, c)
	c.then = func() {
		m.fail(a.ackedAsSaid())
		// A write that no store took at all is one that nobody can know more of.
		if c.reply.Outcome != NotApplied && len(a.mints) > 0 {
			m.tokens[holder] = a.gained(c.reply)
		}
	}
	m.writes = append(m.writes, a)
	m.w.note("%s is asked %v %s %s", n.name, req.Op, key, req.Value)
	m.w.step(n, Event{Request: req})
}

func (m *mini) fail(err error) {
	if err != nil {
		m.errs = append(m.errs, err)
	}
}

func (m *mini) watchRead(c *call, key, holder string) {
	c.then = func() {
		r := c.reply
		if r.Code != OK && r.Code != KeyNotFound {
			return
		}
		m.reached.Reads++
		m.fail(m.truth.onlyDurable(r.Object))
		if len(r.Object.Live(0)) > 1 {
			m.reached.Siblings++
		}
		if r.Object != nil { // else there is no token
			t := &token{r.Context, dots{}}
			t.knows.add(r.Object)
			m.tokens[holder] = t
		}
		if c.req.HasAfter && !r.Context.Seen.Join(m.truth.settledOf(key)).Dominates(c.req.After.Seen) {
			m.fail(fmt.Errorf("SESSION: asked for %v, answered %v", c.req.After.Seen, r.Context.Seen))
		}
		if m.bucket == "strict" {
			m.fail(m.truth.strictRead(c, key))
		}
	}
	if c.reply != nil {
		c.then()
	}
}

// end heals everything, waits for the hand-off and reads every key twice.
func (m *mini) end() error {
	w := m.w
	clear(m.blocked)
	m.lossy = 0
	w.letGo()
	for _, n := range w.nodes {
		if n.core == nil {
			w.start(n, true)
		}
		w.step(n, Event{Confirmed: true}, Event{Space: Yes})
		w.release(n)
	}
	alive := ""
	for _, n := range w.nodes {
		alive += n.name
	}
	w.view("", alive)
	w.run(3 * time.Second)
	w.until("all hints handed off", func() bool {
		for _, n := range w.nodes {
			if n.core.Stats().Hints != 0 || len(n.disk.hints) != 0 {
				return false
			}
		}
		return true
	})
	if m.quiet != nil {
		m.quiet()
	}
	for _, key := range m.keys {
		if err := m.endKey(key); err != nil {
			return err
		}
	}
	w.run(6 * time.Second)
	if len(m.errs) > 0 {
		return m.errs[0]
	}
	return m.account()
}

func (m *mini) endKey(key string) error {
	var last *version.Object
	for i := range 2 {
		r := m.w.do(m.anyNode(), &Request{Op: OpGet, Bucket: m.bucket, Key: []byte(key), R: All})
		if r.Code != OK && r.Code != KeyNotFound {
			return fmt.Errorf("healed, and a read of %s says %v %s", key, r.Code, r.Detail)
		}
		if i > 0 && m.quiet == nil && !version.Same(last, r.Object) {
			return fmt.Errorf("read %s twice: %v, then %v", key, last, r.Object)
		}
		last = r.Object
		m.w.run(200 * time.Millisecond)
	}
	bucket, _ := m.w.ring.Bucket(m.bucket)
	p := m.w.ring.PartitionOf(hashring.Hash(m.bucket, []byte(key)))
	for _, s := range m.w.ring.Owners(p, 5) {
		n := m.w.bySID(s)
		if o, _ := n.disk.Record(p, bucket.ID, []byte(key)); !version.Same(o, last) {
			return fmt.Errorf("%s did not converge on %s: it has %v, not %v", n.name, key, o, last)
		}
	}
	if bucket.Conflict == hashring.LWW {
		if last != nil && len(last.Siblings) != 1 {
			return fmt.Errorf("last-write-wins %s has %v", key, last)
		}
		return nil
	}
	return m.truth.finalKey(key, last)
}

func (m *mini) account() error {
	for _, n := range m.w.nodes {
		n.disk.checkCounters(m.w.t, n.name)
		s := n.core.Stats()
		if s.Ops != 0 || s.OverlayBytes != 0 || s.Loads != 0 || s.Parked != 0 {
			return fmt.Errorf("%s is at rest and holds %+v", n.name, s)
		}
		m.reached.Hints += int(s.HintsDelivered)
		m.reached.Repairs += int(s.ReadRepairs)
		m.reached.Forwards += int(s.Forwards)
	}
	for _, a := range m.writes {
		c := a.call
		switch {
		case c.lost:
			m.reached.Gone++
			continue
		case c.reply == nil:
			return fmt.Errorf("%s of %s was never answered", c.req.Value, a.key)
		case c.ended-c.began > c.req.Timeout+10*time.Millisecond:
			return fmt.Errorf("%s of %s was answered after %v, its deadline was %v", c.req.Value, a.key, c.ended-c.began, c.req.Timeout)
		}
		if len(a.mints) > 1 {
			m.reached.Twice++
		}
		switch c.reply.Outcome {
		case Applied:
			m.reached.Acked++
			if c.reply.Receipt.Owners == 0 && c.reply.Receipt.Fallbacks > 0 {
				m.reached.Fallback++
			}
		case Unknown:
			m.reached.Unknown++
		default:
			m.reached.NotApplied++
		}
	}
	return m.truth.outcomes()
}
