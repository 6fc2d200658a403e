package antientropy

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

var rewrite = flag.Bool("rewrite", false, "write what the scenarios show into their files")

// The files under testdata are stories. A line that begins with # says what the story
// shows, one that begins with > is an order (the orders map below), and what follows it
// is what must be seen then. To accept a change:
//
//	go test ./antientropy -run Scenarios -rewrite
//
// and read the difference.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 8 {
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
			got := play(t, want)
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

func play(t *testing.T, script string) string {
	st := &stage{t: t, w: &writer{}, a: newReplica(t, "a"), b: newReplica(t, "b")}
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
			do(st, words[1:])
		}
	}
	return st.out.String()
}

type stage struct {
	t    *testing.T
	out  strings.Builder
	w    *writer
	a, b *replica

	meanwhile [][]string // orders for the time of the second look
	lose      int
	later     bool // only what comes after the open is lost

	round  *Round
	cfg    RoundConfig
	now    Duration
	book   *HintBook
	gen    uint64
	nowMS  int64
	purged *Commit
}

func (st *stage) say(format string, args ...any) { fmt.Fprintf(&st.out, format+"\n", args...) }

var orders map[string]func(st *stage, w []string)

func init() {
	orders = map[string]func(st *stage, w []string){
		// Two replicas and an exchange that a leads.
		"both":       (*stage).both,
		"fill":       (*stage).fill,
		"put":        func(st *stage, w []string) { st.put(w, false) },
		"delete":     func(st *stage, w []string) { st.put(w, true) },
		"copy":       (*stage).copyOver,
		"wipe":       func(st *stage, w []string) { st.at(w[0]).wipe() },
		"damage":     func(st *stage, w []string) { st.at(w[0]).damaged[w[1]] = true },
		"epoch":      func(st *stage, w []string) { st.at(w[0]).epoch = number(w[1]) },
		"generation": func(st *stage, w []string) { st.at(w[0]).gen = number(w[1]) },
		"lose":       func(st *stage, w []string) { st.lose, st.later = int(number(w[0])), len(w) > 1 },
		"meanwhile":  func(st *stage, w []string) { st.meanwhile = append(st.meanwhile, w) },
		"exchange":   func(st *stage, w []string) { st.exchange(Config{}) },
		"thorough":   func(st *stage, w []string) { st.exchange(Config{Thorough: true}) },
		"show":       (*stage).show,
		// A purge round.
		"round":  (*stage).begin,
		"survey": (*stage).survey,
		"report": (*stage).report,
		"passed": func(st *stage, w []string) {
			st.did(st.round.Passed(st.now, st.round.token(), name(w[0]), w[1] == "complete"))
		},
		"confirm":   (*stage).survey,
		"committed": func(st *stage, w []string) { st.did(st.round.Committed(st.now, w[0] == "yes")) },
		"down":      func(st *stage, w []string) { st.did(st.round.Down(st.now, name(w[0]))) },
		"reboot":    (*stage).reboot,
		"wait":      (*stage).wait,
		"strip":     (*stage).strip,
		// A hint book.
		"book":      (*stage).newBook,
		"hint":      (*stage).hint,
		"delivered": func(st *stage, w []string) { st.book.Delivered(1, name(w[0]), number(w[1])); st.line(w[0]) },
		"later":     func(st *stage, w []string) { st.nowMS += duration(w[0]).Milliseconds() },
		"sweep":     (*stage).sweep,
		"clear":     func(st *stage, w []string) { st.say("%v", st.book.Clear(1, name(w[0]), number(w[1]))); st.line(w[0]) },
		"leaves":    (*stage).leaves,
	}
}

func number(word string) uint64 {
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func duration(word string) Duration {
	d, err := time.ParseDuration(word)
	if err != nil {
		panic(err)
	}
	return d
}

func (st *stage) at(name string) *replica {
	if name == "b" {
		return st.b
	}
	return st.a
}

func (st *stage) both(keys []string) {
	for _, k := range keys {
		o := st.w.write(1, nil, k, false)
		st.a.fill(k, o)
		st.b.fill(k, o)
	}
}

// fill gives both replicas n keys.
func (st *stage) fill(w []string) {
	for i := range number(w[0]) {
		st.both([]string{fmt.Sprintf("key%05d", i)})
	}
}

func (st *stage) put(w []string, dead bool) {
	r := st.at(w[0])
	actor := version.Actor(2)
	if w[0] == "b" {
		actor = 3
	}
	for _, k := range w[1:] {
		r.stage(k, st.w.write(actor<<32, r.objects[k], k, dead))
	}
	r.syncAll()
}

// copyOver brings a key to the other replica: a write that lands.
func (st *stage) copyOver(w []string) {
	from, to := st.at(w[0]), st.at(w[1])
	to.merge(w[2], from.objects[w[2]])
	to.syncAll()
}

func (st *stage) exchange(cfg Config) {
	p := newPairing(st.t, st.a, st.b)
	p.now = st.now
	p.trace = st.say
	p.between = func() {
		for st.lose > 0 && len(p.toB) > 0 && (p.x.open || !st.later) {
			p.toB = nil
			st.lose--
			st.say("   lost")
			p.now = max(p.now, p.x.wake)
			p.lead(p.x.Wake(p.now))
		}
		if len(p.toA)+len(p.toB) == 0 && p.x.waiting == nil && p.result == nil {
			st.say("   %v passes: the second look", p.x.wake-p.now)
			for _, w := range st.meanwhile {
				orders[w[0]](st, w[1:])
			}
			st.meanwhile = nil
			p.now = p.x.wake
		}
	}
	p.run(cfg)
	st.now = p.now
	st.meanwhile = nil
}

func (st *stage) show(keys []string) {
	for _, k := range keys {
		st.say("%s: a %v | b %v", k, st.a.objects[k], st.b.objects[k])
	}
}

// name is a store's sid: its first letter.
func name(s string) hashring.SID { return hashring.SID{s[0]} }

func names(sids []hashring.SID) string {
	var out []string
	for _, s := range sids {
		out = append(out, string(s[0]))
	}
	return strings.Join(out, " ")
}

// begin: owners, then all stores; the first owner leads.
func (st *stage) begin(w []string) {
	st.cfg = RoundConfig{Partition: 7, Epoch: 1, Generation: 4, Self: name(w[0])}
	for _, c := range w[0] {
		st.cfg.Owners = append(st.cfg.Owners, Member{name(string(c)), 1})
	}
	for _, c := range w[1] {
		st.cfg.Stores = append(st.cfg.Stores, Member{name(string(c)), 1})
	}
	var do RoundDo
	st.round, do = NewRound(st.cfg, st.now)
	st.did(do)
}

func (st *stage) did(do RoundDo) {
	if len(do.Report) > 0 {
		st.say("ask for reports: %s", names(do.Report))
	}
	if len(do.Exchange) > 0 {
		st.say("exchange with: %s", names(do.Exchange))
	}
	if len(do.Confirm) > 0 {
		st.say("ask owners: %s", names(do.Confirm))
	}
	if c := do.Propose; c != nil {
		st.say("propose: generation %d, clock %s, expire up to %d", c.Generation, drawClock(c.Clock), c.ExpireMS)
		st.purged = c
	}
	b := st.round.Blocked()
	line := fmt.Sprintf("%v: %v", st.round.Phase(), b.Why)
	if !b.Store.IsZero() {
		line += " at " + string(b.Store[0])
	}
	if b.Count > 0 {
		line += fmt.Sprintf(" (%d)", b.Count)
	}
	if d := st.now - b.Since; b.Why != NotBlocked && d > 0 {
		line += fmt.Sprintf(" for %v", d)
	}
	st.say("%s", line)
}

// Clocks in stories: A5 is counter 5 of actor A.
func clock(words []string) (v version.Vector) {
	for _, w := range words {
		v = v.With(version.Dot{Actor: version.Actor(w[0]), Counter: number(w[1:])})
	}
	return v
}

func drawClock(v version.Vector) string {
	var out []string
	for _, d := range v {
		out = append(out, fmt.Sprintf("%c%d", rune(d.Actor), d.Counter))
	}
	return strings.Join(out, " ")
}

func (st *stage) boot(store hashring.SID) uint64 {
	m, _ := memberOf(st.cfg.Stores, store)
	return m.Boot
}

func (st *stage) survey(w []string) {
	for _, c := range w[0] {
		s := name(string(c))
		st.did(st.round.Confirmed(st.now, s, Confirmation{Ask: st.round.token(), Boot: st.boot(s), Epoch: 1, Generation: 4, Seen: clock(w[1:])}))
	}
}

// report: store, hints, marks, then its cut.
func (st *stage) report(w []string) {
	s := name(w[0])
	st.did(st.round.Reported(st.now, s, Report{Ask: st.round.token(), Boot: st.boot(s), Epoch: 1, Generation: 4, Hints: number(w[1]), Marks: number(w[2]), Cut: clock(w[3:]), WallMS: 1000 + int64(s[0])}))
}

// reboot: the ring tells of a store's new boot.
func (st *stage) reboot(w []string) {
	owners, stores := slices.Clone(st.cfg.Owners), slices.Clone(st.cfg.Stores)
	for _, list := range [][]Member{owners, stores} {
		for i := range list {
			if list[i].Store == name(w[0]) {
				list[i].Boot++
			}
		}
	}
	st.did(st.round.Changed(st.now, 1, 4, owners, stores))
}

func (st *stage) wait(w []string) {
	st.now += duration(w[0])
	st.did(st.round.Wake(st.now))
}

// strip: local siblings, |, incoming siblings; the clock is the round's.
func (st *stage) strip(w []string) {
	i := slices.Index(w, "|")
	object := func(words []string) (o *version.Object) {
		for _, word := range words {
			if o == nil {
				o = &version.Object{}
			}
			v := clock([]string{word})
			o = version.Join(o, &version.Object{Context: v, Siblings: []version.Sibling{{Dot: v[0]}}})
		}
		return o
	}
	got := Strip(object(w[i+1:]), object(w[:i]), st.purged.Clock)
	if got == nil {
		st.say("ignored")
		return
	}
	var left version.Vector
	for _, s := range got.Siblings {
		left = left.With(s.Dot)
	}
	st.say("left: %s", drawClock(left))
}

func (st *stage) newBook(w []string) {
	st.book, st.nowMS = NewHintBook(HintBudget{Bytes: number(w[0]), Age: duration(w[1])}), 1_000_000
}

func (st *stage) line(target string) {
	for _, l := range st.book.Lines(1) {
		if l.Target == name(target) {
			if l.Hints == 0 {
				l.OldestMS = st.nowMS
			}
			st.say("for %s: %d hints, %d bytes, the oldest %ds old, mark %d", target, l.Hints, l.Bytes, (st.nowMS-l.OldestMS)/1000, l.Dirty)
			return
		}
	}
	st.say("for %s: nothing", target)
}

func (st *stage) hint(w []string) {
	size := number(w[1])
	got := st.book.Admit(size)
	st.gen++
	if got == Refuse {
		st.book.Missed(1, name(w[0]), st.gen)
	} else {
		st.book.Kept(1, name(w[0]), size, 0, st.nowMS)
	}
	st.say("%v", got)
	st.line(w[0])
}

// sweep: the hints of its line are of 100 bytes, kept a minute apart, the last one now.
func (st *stage) sweep([]string) {
	s, ok := st.book.Sweep(st.nowMS, anyLine)
	if !ok {
		st.say("nothing to sweep")
		return
	}
	st.say("sweep for %s: before %d, %d bytes", names([]hashring.SID{s.Target}), s.BeforeMS, s.Bytes)
	p := NewPicker(s)
	for _, l := range st.book.Lines(1) {
		if l.Target == s.Target {
			rng := rand.New(rand.NewPCG(1, 1))
			for _, i := range rng.Perm(int(l.Hints)) {
				p.Offer(Hint{Gen: uint64(1000 - i), Size: l.Bytes / l.Hints, KeptMS: st.nowMS - int64(i)*60_000})
			}
		}
	}
	drop, oldest := p.Picked()
	for _, h := range drop {
		st.gen++
		st.book.Dropped(1, s.Target, h.Size, st.gen)
	}
	st.say("%d dropped", len(drop))
	st.book.Swept(1, s.Target, oldest)
	st.line(string(s.Target[0]))
}

func (st *stage) leaves(w []string) {
	owns := func(_ uint32, s hashring.SID) bool { return s != name(w[0]) }
	var heirs []hashring.SID
	for _, h := range w[1:] {
		heirs = append(heirs, name(h))
	}
	st.gen++
	for _, o := range st.book.Orphans(owns) {
		st.book.Inherit(o.Partition, o.Target, heirs, st.gen)
	}
	for _, h := range w {
		st.line(h)
	}
}
