package strong

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/assert"
)

var rewrite = flag.Bool("rewrite", false, "write what the scenarios show into their files")

// The files under testdata are stories. A line that begins with # says what the story
// shows, one that begins with > is an order (the orders map below), and what follows it
// is what must be seen then. To accept a change:
//
//	go test ./quorum/strong -run Scenarios -rewrite
//
// and read the difference.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 18 {
		t.Fatalf("%d scenarios: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(string(b), "\r\n", "\n")
			if !strings.HasPrefix(want, "# ") {
				t.Error("it does not begin with a sentence on what it shows")
			}
			got := playStory(t, want)
			if got == want {
				return
			}
			if !*rewrite {
				t.Fatalf("it shows\n%s", got)
			}
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func playStory(t *testing.T, script string) string {
	st := &stage{t: t, links: map[string]string{}, stamps: map[[16]byte]int64{}, now: time.Second, wall: 1_000_000,
		opts: Options{Heartbeat: time.Second, CommitDelay: ms, LogEntries: 4, CutEntries: 2, SliceRows: 2, Window: 10 * time.Second}}
	for _, line := range strings.SplitAfter(script, "\n") {
		switch {
		case strings.HasPrefix(line, "#"), line == "\n" && strings.HasSuffix(st.out.String(), "\n"):
			st.out.WriteString(line)
		case strings.HasPrefix(line, "> "):
			st.out.WriteString(line)
			words := strings.Fields(line[2:])
			do, ok := orders[words[0]]
			if !ok {
				t.Fatalf("unknown order %q", line)
			}
			st.order(do, words[1:])
		}
	}
	return st.out.String()
}

// stage is a handful of stores whose messages and syncs are at once, unless a story
// says otherwise.
type stage struct {
	t      *testing.T
	out    strings.Builder
	opts   Options
	now    time.Duration
	wall   int64
	actors []*actor
	links  map[string]string // "a>b", or "a>b:append" -> cut or hold
	flight []posted
	held   []posted
	quiet  bool
	stamps map[[16]byte]int64
}

type posted struct {
	from, to *actor
	m        *Message
}

type actor struct {
	st      *stage
	name    string
	sid     hashring.SID
	disk    *disk
	view    *view
	r       *Replica
	cfg     Config
	boot    uint64
	seq     uint64
	batches []batch
	gated   []Send
	slow    bool // syncs only when told
	suspect bool
	quorum  *QuorumRead
	wake    time.Duration
	skew    int64 // of its wall clock, ms
	sleeps  bool  // its machine is suspended: what comes waits, and one of its clocks stands still
	slept   time.Duration
	inbox   []func()
	asleep  bool // it is not scheduled; what comes waits in mail
	mail    []posted
}

func (st *stage) say(format string, args ...any) { fmt.Fprintf(&st.out, format+"\n", args...) }

func (st *stage) order(do func(*stage, []string), words []string) {
	defer func() {
		if x := recover(); x != nil {
			v, ok := x.(assert.Violation)
			if !ok {
				panic(x)
			}
			st.say("%v", v)
		}
	}()
	do(st, words)
	st.settle()
}

var orders map[string]func(st *stage, w []string)

func init() {
	orders = map[string]func(st *stage, w []string){
		"stores":    (*stage).stores,
		"config":    (*stage).config, // epoch, primary, sets; who of: hears it
		"activated": (*stage).activated,
		"clock":     (*stage).clock,
		"halt":      func(st *stage, w []string) { st.at(w[0]).asleep = true },
		"rouse":     (*stage).rouse,
		"put":       func(st *stage, w []string) { st.submit(OpPut, w) },
		"delete":    func(st *stage, w []string) { st.submit(OpDelete, w) },
		"add":       func(st *stage, w []string) { st.submit(OpIncrement, w) },
		"read":      (*stage).read,
		"quorum":    (*stage).quorumRead,
		"pass":      (*stage).pass,
		"cut":       func(st *stage, w []string) { st.link("cut", w) },
		"limit":     func(st *stage, w []string) { st.links[w[0]] = w[1] }, // so many more, then cut
		"hold":      func(st *stage, w []string) { st.link("hold", w) },
		"join":      func(st *stage, w []string) { clear(st.links) },
		"release":   func(st *stage, w []string) { clear(st.links); st.flight, st.held = append(st.flight, st.held...), nil },
		"slow":      func(st *stage, w []string) { st.at(w[0]).slow = true },
		"sync":      func(st *stage, w []string) { st.at(w[0]).slow = false },
		"crash":     (*stage).crash,
		"forget":    (*stage).forget,
		"spoil":     (*stage).spoil,
		"scrub":     (*stage).scrub,
		"start":     func(st *stage, w []string) { st.at(w[0]).start() },
		"show":      (*stage).show,
		"narrow":    func(st *stage, w []string) { st.opts.AppendBytes, st.opts.InFlight = 1, 1 },
		"lease":     (*stage).lease,
		"sleep":     func(st *stage, w []string) { st.at(w[0]).sleeps = true },
		"wake":      (*stage).wakeUp,
		"handover":  (*stage).handOver,
		"quiet":     func(st *stage, w []string) { st.quiet = w[0] == "on" },
	}
}

func (st *stage) at(name string) *actor {
	for _, a := range st.actors {
		if a.name == name {
			return a
		}
	}
	st.t.Fatalf("no store %q", name)
	return nil
}

func (st *stage) name(s hashring.SID) string {
	for _, a := range st.actors {
		if a.sid == s {
			return a.name
		}
	}
	return "-"
}

func (st *stage) stores(names []string) {
	for _, name := range names {
		a := &actor{st: st, name: name, sid: hashring.SID{name[0]}, disk: newDisk()}
		st.actors = append(st.actors, a)
		a.start()
	}
}

func (a *actor) start() {
	a.boot++
	a.view = &view{disk: a.disk.clone(), cut: func() {}}
	a.seq, a.batches, a.gated, a.wake = 0, nil, nil, 0
	saved := a.view.saved()
	saved.Suspect = a.suspect
	r, err := New(a.sid, a.st.opts, a.view, saved, a.boot<<40, a.time())
	if err != nil {
		a.st.t.Fatal(err)
	}
	a.r = r
	if a.cfg.Epoch > 0 {
		a.step(func() { r.Configure(a.cfg) })
	}
}

func (a *actor) time() Now {
	return Now{Mono: a.st.now - a.slept, WallMS: a.st.wall + a.st.now.Milliseconds() + a.skew, Boot: a.st.now}
}

// config e primary a,b,c|b,c,d [to a,b] [learn d] [incarnation n]
func (st *stage) config(w []string) {
	epoch, _ := strconv.ParseUint(w[0], 10, 64)
	c := Config{Epoch: epoch, Incarnation: 1, Primary: st.at(w[1]).sid}
	for _, set := range strings.Split(w[2], "|") {
		c.Sets = append(c.Sets, st.sids(set))
	}
	to := st.actors
	for i := 3; i+1 < len(w); i += 2 {
		switch w[i] {
		case "learn":
			c.Learners = st.sids(w[i+1])
		case "incarnation": // after a forced recovery (T5)
			c.Incarnation, _ = strconv.ParseUint(w[i+1], 10, 64)
		case "to":
			to = nil
			for _, name := range strings.Split(w[i+1], ",") {
				to = append(to, st.at(name))
			}
		}
	}
	for _, a := range to {
		a.configure(c)
	}
}

func (a *actor) configure(c Config) {
	a.cfg = c
	if a.r != nil {
		a.step(func() { a.r.Configure(c) })
	}
}

func (st *stage) sids(names string) (out []hashring.SID) {
	for _, name := range strings.Split(names, ",") {
		out = append(out, st.at(name).sid)
	}
	return out
}

func (st *stage) activated(w []string) {
	for _, a := range st.actors {
		a.cfg.Activated = true
		a.configure(a.cfg)
	}
}

// put a key value [if version] [none] [id nonce [fresh|ahead]]
func (st *stage) submit(kind OpKind, w []string) {
	a := st.at(w[0])
	op := &Op{Kind: kind, Bucket: bucket, Key: []byte(w[1]), Deadline: st.now + time.Minute}
	rest := w[2:]
	switch kind {
	case OpPut:
		op.Data, rest = []byte(rest[0]), rest[1:]
	case OpIncrement:
		op.Delta, _ = strconv.ParseInt(rest[0], 10, 64)
		rest = rest[1:]
	}
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case "none":
			op.If.IfNoneMatch = true
		case "if":
			i++
			v := &op.If.IfMatch
			fmt.Sscanf(rest[i], "%d.%d.%d", &v.Incarnation, &v.Epoch, &v.Index)
		case "id":
			i++
			op.ID = RequestID{StampMS: st.wall + 1000}
			copy(op.ID.Nonce[:], rest[i])
		case "fresh": // the id's stamp is of when it was first used
			if st.stamps[op.ID.Nonce] == 0 {
				st.stamps[op.ID.Nonce] = st.wall + st.now.Milliseconds()
			}
			op.ID.StampMS = st.stamps[op.ID.Nonce]
		case "ahead": // by the client's clock
			op.ID.StampMS += 2 * time.Hour.Milliseconds()
		}
	}
	op.Waiter = strings.Join(w, " ")
	a.step(func() { a.r.Submit(op) })
}

func (st *stage) read(w []string) {
	a := st.at(w[0])
	level := Level(slices.Index([]string{"leader", "validated", "stale", "lease"}, w[2]))
	a.step(func() {
		a.r.Read(&Read{Level: level, Bucket: bucket, Key: []byte(w[1]), Deadline: st.now + time.Minute, Waiter: strings.Join(w, " ")})
	})
}

func (st *stage) quorumRead(w []string) {
	a := st.at(w[0])
	id := a.boot<<40 | 1<<39 | uint64(st.now)
	a.quorum = NewQuorumRead(a.cfg, Read{Bucket: bucket, Key: []byte(w[1]), Deadline: st.now + time.Minute, Waiter: "quorum " + strings.Join(w, " ")}, st.opts,
		func() uint64 { id++; return id })
	a.stepQuorum()
}

func (a *actor) stepQuorum() {
	out := a.quorum.Step(a.st.now)
	a.post(out.Sends)
	if out.WantRing > 0 {
		a.st.say("%s: quorum read wants the ring of epoch %d", a.name, out.WantRing)
		a.quorum = nil
	} else if out.Reply != nil {
		a.replied(*out.Reply)
		a.quorum = nil
	}
}

// clock a off: its wall clock is off by so much.
func (st *stage) clock(w []string) {
	off, err := time.ParseDuration(w[1])
	if err != nil {
		st.t.Fatal(err)
	}
	st.at(w[0]).skew = off.Milliseconds()
}

// rouse: a store is scheduled again. Its timers come before its mail.
func (st *stage) rouse(w []string) {
	a := st.at(w[0])
	a.asleep = false
	a.step(func() {})
	st.flight, a.mail = append(st.flight, a.mail...), nil
}

func (st *stage) link(what string, w []string) {
	for _, l := range w {
		st.links[l] = what
	}
}

func (st *stage) crash(w []string) {
	for _, name := range w {
		st.at(name).r = nil
	}
}

// forget damages the disk of a store that is down: it holds nothing any more, and knows
// that it did.
func (st *stage) forget(w []string) {
	a := st.at(w[0])
	a.disk, a.suspect = newDisk(), true
}

// spoil changes a value on a disk.
func (st *stage) spoil(w []string) {
	a := st.at(w[0])
	for _, d := range []*disk{a.disk, a.view.disk} {
		values := d.gen(d.hard.Generation).values
		row := values[testKey(bucket, []byte(w[1]))]
		v := *row.Value
		v.Version.Index, v.Data = 1, []byte("spoilt")
		row.Value = &v
		values[testKey(bucket, row.Key)] = row
	}
}

// scrub walks over all values of a store.
func (st *stage) scrub(w []string) {
	a := st.at(w[0])
	for before := a.r.scrub.rounds; a.r.scrub.rounds == before; {
		a.step(func() { a.r.Scrub() })
		st.settle()
	}
}

// pass lets time go by, in steps.
func (st *stage) pass(w []string) {
	d, err := time.ParseDuration(w[0])
	if err != nil {
		st.t.Fatal(err)
	}
	for end := st.now + d; st.now < end; {
		before := st.now
		st.now = min(end, st.now+50*ms)
		for _, a := range st.actors {
			if a.sleeps {
				a.slept += st.now - before
				continue
			}
			if a.r != nil && !a.asleep && a.wake != 0 && a.wake <= a.time().Mono {
				a.step(func() {})
			}
			if a.r != nil && a.quorum != nil {
				a.stepQuorum()
			}
		}
		st.settle()
	}
}

func (a *actor) step(do func()) {
	switch {
	case a.r == nil:
		a.st.t.Fatalf("%s is down", a.name)
	case a.sleeps:
		a.inbox = append(a.inbox, do)
		return
	}
	a.r.Begin(a.time(), a.seq+1)
	do()
	out := a.r.Finish()
	a.view.carry()
	if len(a.view.staged) > 0 {
		a.seq++
		a.batches = append(a.batches, batch{a.seq, a.view.staged})
		a.view.staged = nil
	}
	a.wake = out.Wake
	a.post(out.Sends)
	for _, reply := range out.Replies {
		a.replied(reply)
	}
	for _, l := range out.Loads {
		rows, next, more := a.disk.load(l)
		a.step(func() { a.r.Loaded(l.Token, rows, next, more, nil) })
	}
	for _, p := range out.Proposals {
		a.st.say("%s proposes %v of epoch %d %s", a.name, p.Kind, p.Epoch, a.st.name(p.Prefer))
	}
}

func (a *actor) replied(reply Reply) {
	detail := ""
	if !reply.Version.IsZero() {
		detail += " @" + reply.Version.String()
	}
	if reply.Value.Live() {
		detail += fmt.Sprintf(" %q", reply.Value.Data)
	}
	if reply.Lease {
		detail += " (by the lease)"
	}
	if reply.Again {
		detail += " (as before)"
	}
	a.st.say("%s  = %v: %v %v%s", a.name, reply.Waiter, reply.Outcome, reply.Code, detail)
}

func (a *actor) post(sends []Send) {
	for _, s := range sends {
		if s.Gate > a.r.synced {
			a.gated = append(a.gated, s)
			continue
		}
		to := a.st.at(a.st.name(s.To))
		p := posted{a, to, s.Msg}
		link := a.st.links[a.name+">"+to.name]
		if only := a.st.links[a.name+">"+to.name+":"+s.Msg.Kind.String()]; only != "" {
			link = only
			if n, err := strconv.Atoi(only); err == nil && n > 0 {
				a.st.links[a.name+">"+to.name+":"+s.Msg.Kind.String()] = strconv.Itoa(n - 1)
				link = ""
			}
		}
		switch link {
		case "cut", "0":
			continue
		case "hold":
			a.st.line(p, " (held)")
			a.st.held = append(a.st.held, p)
			continue
		}
		a.st.line(p, "")
		a.st.flight = append(a.st.flight, p)
	}
}

func (st *stage) line(p posted, note string) {
	if !st.quiet {
		st.say("%s>%s %v%s", p.from.name, p.to.name, p.m, note)
	}
}

// settle delivers and syncs until nothing is under way.
func (st *stage) settle() {
	for range 10_000 {
		switch {
		case st.syncOne():
		case len(st.flight) > 0:
			p := st.flight[0]
			if st.flight = st.flight[1:]; p.to.asleep {
				p.to.mail = append(p.to.mail, p)
				continue
			}
			p.to.receive(p)
		default:
			return
		}
	}
	st.t.Fatal("it does not come to rest")
}

func (st *stage) syncOne() bool {
	for _, a := range st.actors {
		if a.r == nil || a.slow || a.sleeps || len(a.batches) == 0 {
			continue
		}
		upto := a.seq
		for _, b := range a.batches {
			for _, wr := range b.writes {
				a.disk.apply(wr)
			}
		}
		a.batches = nil
		gated := a.gated
		a.gated = nil
		a.step(func() { a.r.Synced(upto) })
		a.post(gated)
		return true
	}
	return false
}

func (a *actor) receive(p posted) {
	switch {
	case a.r == nil:
	case p.m.Kind == MsgPeekReply:
		if a.quorum != nil {
			a.quorum.Receive(p.from.sid, p.m)
			a.stepQuorum()
		}
	default:
		a.step(func() { a.r.Receive(p.from.sid, p.m) })
	}
}

func (st *stage) show(w []string) {
	for _, a := range st.actors {
		if a.r == nil {
			st.say("%s  down", a.name)
			continue
		}
		st.say("%s  %v", a.name, a.r)
	}
}
