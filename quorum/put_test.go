package quorum

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/hashring"
)

// sid of a name of one letter.
func sid(name string) (s hashring.SID) {
	if name != "" {
		s[0] = name[0]
	}
	return s
}

func sids(names string) (out []hashring.SID) {
	for _, n := range strings.Fields(names) {
		out = append(out, sid(n))
	}
	return out
}

// rolesOf gives the roles of owners, nil when all are full, and how many are.
func rolesOf(owners, building, out string) (roles []hashring.Role, full int) {
	for _, o := range strings.Fields(owners) {
		switch {
		case strings.Contains(building, o):
			roles = append(roles, hashring.Building)
		case strings.Contains(out, o):
			roles = append(roles, hashring.Out)
		default:
			roles = append(roles, hashring.Full)
			full++
		}
	}
	if full == len(roles) {
		return nil, full
	}
	return roles, full
}

func letter(s hashring.SID) string { return string(s[:1]) }

// drawAsks draws asks as "a x/c": a as an owner, x for the owner c.
func drawAsks(asks []Ask) string {
	var out []string
	for _, a := range asks {
		if a.Target.IsZero() {
			out = append(out, letter(a.To))
		} else {
			out = append(out, letter(a.To)+"/"+letter(a.Target))
		}
	}
	return strings.Join(out, " ")
}

func drawFailures(f []Failure) string {
	var out []string
	for _, f := range f {
		out = append(out, letter(f.Store)+":"+f.Reason.String())
	}
	return strings.Join(out, " ")
}

func store(name string) (from, target hashring.SID) {
	from = sid(name)
	if _, t, ok := strings.Cut(name, "/"); ok {
		target = sid(t)
	}
	return from, target
}

// A story is a write's life in lines "event | asks | verdict": +a acks, -a fails,
// ~a is late, x/c stands in for c; the first line is the plan itself.
type putStory struct {
	name      string
	need, pw  int
	sloppy    bool
	owners    string
	building  string
	out       string
	fallbacks string
	down      string
	lines     []string
	receipt   string
	failures  string
}

var putStories = []putStory{
	{name: "strict, first two acks win", need: 2, owners: "a b c", fallbacks: "x y",
		lines:   []string{"| a b c | pending", "+a | | pending", "+b | | won", "+c | | won"},
		receipt: "n=3, need=2, acks=3, owners=3, fallbacks=0, synced=3"},
	{name: "strict, a stand-in is asked and counts for nothing", need: 2, owners: "a b c", fallbacks: "x y", down: "b c",
		lines:   []string{"| a x/b y/c | lost", "+x/b | | lost", "+a | | lost", "+y/c | | lost"},
		receipt: "n=3, need=2, acks=1, owners=1, fallbacks=2, synced=3", failures: "b:unreachable c:unreachable"},
	{name: "sloppy, stand-ins count", need: 2, sloppy: true, owners: "a b c", fallbacks: "x y", down: "b c",
		lines:   []string{"| a x/b y/c | pending", "+x/b | | pending", "+y/c | | won", "+a | | won"},
		receipt: "n=3, need=2, acks=3, owners=1, fallbacks=2, synced=3", failures: "b:unreachable c:unreachable"},
	{name: "pw asks for owners among them", need: 2, pw: 1, sloppy: true, owners: "a b c", fallbacks: "x y", down: "b c",
		lines:   []string{"| a x/b y/c | pending", "+x/b | | pending", "+y/c | | pending", "+a | | won"},
		receipt: "n=3, need=2, acks=3, owners=1, fallbacks=2, synced=3", failures: "b:unreachable c:unreachable"},
	{name: "pw that no owner can meet is lost at once", need: 1, pw: 2, sloppy: true, owners: "a b c", fallbacks: "x y", down: "b c",
		lines:   []string{"| a x/b y/c | lost"},
		receipt: "n=3, need=1, acks=0, owners=0, fallbacks=0, synced=0", failures: "a:timeout b:unreachable c:unreachable"},
	{name: "lost early: the second refusal of three", need: 2, owners: "a b c",
		lines:   []string{"| a b c | pending", "-a | | pending", "-b | | lost", "+c | | lost"},
		receipt: "n=3, need=2, acks=1, owners=1, fallbacks=0, synced=1", failures: "a:no_space b:no_space"},
	{name: "sloppy: a refusal goes to the next stand-in, in order", need: 3, sloppy: true, owners: "a b c", fallbacks: "x y",
		lines:   []string{"| a b c | pending", "-b | x/b | pending", "-x/b | y/b | pending", "+y/b | | pending", "+a | | pending", "+c | | won"},
		receipt: "n=3, need=3, acks=3, owners=2, fallbacks=1, synced=3", failures: "b:no_space"},
	{name: "one stand-in for two slots counts once (F47)", need: 2, sloppy: true, owners: "a b c", fallbacks: "x", down: "b c",
		lines:   []string{"| a x/b x/c | pending", "+x/b | | pending", "+x/c | | pending", "+a | | won"},
		receipt: "n=3, need=2, acks=2, owners=1, fallbacks=1, synced=2", failures: "b:unreachable c:unreachable"},
	{name: "one stand-in for all slots is one store (F47)", need: 2, sloppy: true, owners: "a b c", fallbacks: "x", down: "a b c",
		lines:   []string{"| x/a x/b x/c | lost", "+x/a | | lost", "+x/b | | lost", "+x/c | | lost"},
		receipt: "n=3, need=2, acks=1, owners=0, fallbacks=1, synced=1", failures: "a:unreachable b:unreachable c:unreachable"},
	{name: "stand-ins are distinct while there are enough (F47)", need: 3, sloppy: true, owners: "a b c", fallbacks: "x y z", down: "a b c",
		lines:   []string{"| x/a y/b z/c | pending", "+x/a | | pending", "+y/b | | pending", "+z/c | | won"},
		receipt: "n=3, need=3, acks=3, owners=0, fallbacks=3, synced=3", failures: "a:unreachable b:unreachable c:unreachable"},
	{name: "the owner of a reused stand-in's slot comes back: both stores count", need: 3, sloppy: true, owners: "a b c", fallbacks: "x",
		lines:   []string{"| a b c | pending", "~b | x/b | pending", "~c | x/c | pending", "+a | | pending", "+x/b | | pending", "+x/c | | pending", "+b | | won"},
		receipt: "n=3, need=3, acks=3, owners=2, fallbacks=1, synced=3", failures: "c:timeout"},
	{name: "a late owner gets a stand-in beside it, the slot counts once", need: 3, sloppy: true, owners: "a b c", fallbacks: "x",
		lines:   []string{"| a b c | pending", "+a | | pending", "+b | | pending", "~c | x/c | pending", "~c | | pending", "+x/c | | won", "+c | | won"},
		receipt: "n=3, need=3, acks=3, owners=3, fallbacks=0, synced=3"},
	{name: "a late owner that refuses after all", need: 3, sloppy: true, owners: "a b c", fallbacks: "x",
		lines:   []string{"| a b c | pending", "~c | x/c | pending", "-c | | pending", "+a | | pending", "+b | | pending", "-x/c | | lost"},
		receipt: "n=3, need=3, acks=2, owners=2, fallbacks=0, synced=2", failures: "c:no_space x:no_space"},
	{name: "answers of strangers, repeats and refusals after an ack change nothing", need: 2, sloppy: true, owners: "a b c", fallbacks: "x",
		lines:   []string{"| a b c | pending", "+q | | pending", "+x/c | | pending", "-q | | pending", "+a | | pending", "+a | | pending", "-a | | pending", "+b | | won", "-b | | won"},
		receipt: "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=2", failures: "c:timeout"},
	{name: "n=1", need: 1, owners: "a", lines: []string{"| a | pending", "+a | | won"},
		receipt: "n=1, need=1, acks=1, owners=1, fallbacks=0, synced=1"},
	{name: "n=1, the owner is down, sloppy", need: 1, sloppy: true, owners: "a", fallbacks: "x", down: "a",
		lines:   []string{"| x/a | pending", "+x/a | | won"},
		receipt: "n=1, need=1, acks=1, owners=0, fallbacks=1, synced=1", failures: "a:unreachable"},
	{name: "n=2, w=2", need: 2, sloppy: true, owners: "a b", fallbacks: "x",
		lines:   []string{"| a b | pending", "+b | | pending", "-a | x/a | pending", "+x/a | | won"},
		receipt: "n=2, need=2, acks=2, owners=1, fallbacks=1, synced=2", failures: "a:no_space"},
	{name: "n=5, w=3, two down, one refuses: nobody is left to ask twice", need: 3, sloppy: true, owners: "a b c d e", fallbacks: "x y", down: "d e",
		lines:   []string{"| a b c x/d y/e | pending", "-a | x/a | pending", "-x/a | | pending", "+x/d | | pending", "+b | | pending", "+y/e | | won"},
		receipt: "n=5, need=3, acks=3, owners=1, fallbacks=2, synced=3", failures: "a:no_space x:no_space c:timeout d:unreachable e:unreachable"},
	{name: "a building owner is asked and waited for, and never counts", need: 2, owners: "a b c", building: "c",
		lines:   []string{"| a b c | pending", "+c | | pending", "+a | | pending", "+b | | won"},
		receipt: "n=2, need=2, acks=2, owners=2, fallbacks=0, synced=2"},
	{name: "a building owner is no primary write either", need: 1, pw: 2, owners: "a b c", building: "b",
		lines:   []string{"| a b c | pending", "+a | | pending", "+b | | pending", "-c | | lost"},
		receipt: "n=2, need=1, acks=1, owners=1, fallbacks=0, synced=1", failures: "c:no_space"},
	{name: "a hint for a building owner counts for nothing", need: 2, sloppy: true, owners: "a b c", building: "c", fallbacks: "x y", down: "c",
		lines:   []string{"| a b x/c | pending", "+a | | pending", "+x/c | | pending", "-b | y/b | pending", "+y/b | | won"},
		receipt: "n=2, need=2, acks=2, owners=1, fallbacks=1, synced=2", failures: "b:no_space c:unreachable"},
	{name: "an owner that is out is not asked, a hint is kept for it", need: 2, sloppy: true, owners: "a b c", out: "a", fallbacks: "x",
		lines:   []string{"| b c x/a | pending", "+x/a | | pending", "+a | | pending", "+c | | pending", "+b | | won"},
		receipt: "n=2, need=2, acks=2, owners=2, fallbacks=0, synced=2", failures: "a:suspect"},
	{name: "the nearest stand-in goes to the slot that counts", need: 2, sloppy: true, owners: "a b c", out: "a", fallbacks: "x y", down: "b",
		lines:   []string{"| c x/b y/a | pending", "+y/a | | pending", "+x/b | | pending", "+c | | won"},
		receipt: "n=2, need=2, acks=2, owners=1, fallbacks=1, synced=2", failures: "a:suspect b:unreachable"},
	{name: "the only stand-in keeps both hints and counts once, for the slot that counts", need: 2, sloppy: true, owners: "a b c", out: "a", fallbacks: "x",
		lines:   []string{"| b c x/a | pending", "+x/a | | pending", "-b | x/b | pending", "+c | | pending", "+x/b | | won"},
		receipt: "n=2, need=2, acks=2, owners=1, fallbacks=1, synced=2", failures: "a:suspect b:no_space"},
	{name: "a stand-in that does not count yet is used again first", need: 3, sloppy: true, owners: "a b c d", building: "d", fallbacks: "x y", down: "d",
		lines:   []string{"| a b c x/d | pending", "-a | y/a | pending", "-b | x/b | pending", "+y/a | | pending", "+c | | pending", "+x/b | | won"},
		receipt: "n=3, need=3, acks=3, owners=1, fallbacks=2, synced=3", failures: "a:no_space b:no_space d:unreachable"},
	{name: "only a building owner is left: lost at once", need: 1, owners: "a b", building: "b", down: "a", lines: []string{"| b | lost"},
		receipt: "n=1, need=1, acks=0, owners=0, fallbacks=0, synced=0", failures: "a:unreachable b:timeout"},
	{name: "n=5, w=3 strict, three down", need: 3, owners: "a b c d e", down: "a b c",
		lines:   []string{"| d e | lost"},
		receipt: "n=5, need=3, acks=0, owners=0, fallbacks=0, synced=0", failures: "a:unreachable b:unreachable c:unreachable d:timeout e:timeout"},
}

func TestPutStories(t *testing.T) {
	for _, s := range putStories {
		t.Run(s.name, func(t *testing.T) {
			owners := sids(s.owners)
			roles, full := rolesOf(s.owners, s.building, s.out)
			p := NewPut(Policy{N: full, Need: s.need, PW: s.pw, Sloppy: s.sloppy}, owners, roles, sids(s.fallbacks),
				func(o hashring.SID) bool { return !strings.Contains(s.down, letter(o)) })
			for _, line := range s.lines {
				f := strings.Split(line, "|")
				tellPut(p, strings.TrimSpace(f[0]))
				if asks := drawAsks(p.Take()); asks != strings.TrimSpace(f[1]) {
					t.Fatalf("%s: asks %q", line, asks)
				}
				if v := p.Verdict().String(); v != strings.TrimSpace(f[2]) {
					t.Fatalf("%s: %s", line, v)
				}
			}
			if got := p.Receipt().String(); got != s.receipt {
				t.Errorf("receipt %s", got)
			}
			if got := drawFailures(p.Failures()); got != s.failures {
				t.Errorf("failures %s", got)
			}
		})
	}
}

func tellPut(p *Put, event string) {
	if event == "" {
		return
	}
	from, target := store(event[1:])
	switch event[0] {
	case '+':
		p.Ack(from, target)
	case '-':
		p.Fail(from, target, ReasonNoSpace)
	case '~':
		p.Late(from)
	}
}

func TestPutWaitingAndDone(t *testing.T) {
	p := NewPut(Policy{N: 3, Need: 2, Sloppy: true}, sids("a b c"), nil, sids("x"), func(hashring.SID) bool { return true })
	p.Late(sid("b"))
	if w := fmt.Sprint(len(p.Waiting())); w != "3" || p.Done() {
		t.Errorf("%s owners waited for, done %v", w, p.Done())
	}
	for _, e := range []string{"+a", "+b", "+c"} {
		tellPut(p, e)
	}
	if len(p.Waiting()) != 0 || p.Done() {
		t.Error("the stand-in's answer is still out")
	}
	tellPut(p, "-x/b")
	if p.Verdict() != Won {
		t.Error("a stand-in's refusal undid the quorum")
	}
}

// A random but possible life: every ask is answered at most once, in any order;
// owners may be late first. The verdict is held against what an observer counts.
func TestPutNeverLies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 2, 3, 5}).Draw(t, "n")
		policy := Policy{N: n, Need: rapid.IntRange(1, n).Draw(t, "need"), PW: rapid.IntRange(0, n).Draw(t, "pw"), Sloppy: rapid.Bool().Draw(t, "sloppy")}
		down := rapid.StringMatching("[a-e]{0,3}").Draw(t, "down")
		p := NewPut(policy, sids(spaced("abcde"[:n])), nil, sids(spaced("vwxyz"[:rapid.IntRange(0, 5).Draw(t, "fallbacks")])),
			func(s hashring.SID) bool { return !strings.Contains(down, letter(s)) })
		o := observer{policy: policy}
		last := p.Verdict()
		for {
			for _, a := range p.Take() {
				if a.To == a.Target {
					t.Fatalf("%s is asked to stand in for itself", letter(a.To))
				}
				o.open = append(o.open, a)
			}
			v := p.Verdict()
			o.check(t, p, v)
			if last != Pending && v != last {
				t.Fatalf("%v became %v", last, v)
			}
			last = v
			if len(o.open) == 0 {
				break
			}
			o.answer(t, p)
		}
		if !p.Done() || last == Pending {
			t.Fatalf("all has been answered: done %v, %v", p.Done(), last)
		}
	})
}

func spaced(names string) string { return strings.Join(strings.Split(names, ""), " ") }

// observer knows who was asked and who has said that it synced.
type observer struct {
	policy Policy
	open   []Ask
	acked  []Ask
}

func (o *observer) answer(t *rapid.T, p *Put) {
	i := rapid.IntRange(0, len(o.open)-1).Draw(t, "which")
	a := o.open[i]
	switch kind := rapid.IntRange(0, 5).Draw(t, "answer"); {
	case kind < 3:
		p.Ack(a.To, a.Target)
		o.acked = append(o.acked, a)
	case kind < 5:
		p.Fail(a.To, a.Target, ReasonOverloaded)
	default:
		p.Late(a.To)
		return
	}
	o.open = append(o.open[:i:i], o.open[i+1:]...)
}

// count is E2 in its plainest form: owners that have it, and distinct stores that
// keep it for an owner that has not.
func count(acked []Ask) (owners, stands int) {
	own, stand := map[hashring.SID]bool{}, map[hashring.SID]bool{}
	for _, a := range acked {
		if a.Target.IsZero() {
			own[a.To] = true
		}
	}
	for _, a := range acked {
		if !a.Target.IsZero() && !own[a.Target] {
			stand[a.To] = true
		}
	}
	return len(own), len(stand)
}

func (o *observer) enough(owners, stands int) bool {
	if !o.policy.Sloppy {
		stands = 0
	}
	return owners+stands >= o.policy.Need && owners >= o.policy.PW
}

func (o *observer) check(t *rapid.T, p *Put, v Verdict) {
	owners, stands := count(o.acked)
	if o.enough(owners, stands) != (v == Won) {
		t.Fatalf("%d owners and %d stand-ins hold it, verdict %v, policy %+v", owners, stands, v, o.policy)
	}
	stores := map[hashring.SID]bool{}
	for _, a := range o.acked {
		stores[a.To] = true
	}
	if v == Won && len(stores) < o.policy.Need {
		t.Fatalf("won with %d stores", len(stores))
	}
	if r := p.Receipt(); r.Owners != owners || r.Fallbacks != stands || r.Synced != owners+stands || o.policy.Sloppy && r.Acks != owners+stands || !o.policy.Sloppy && r.Acks != owners {
		t.Fatalf("%d owners and %d stand-ins hold it, receipt %v", owners, stands, r)
	}
	if all := append(append([]Ask{}, o.acked...), o.open...); v == Lost && o.enough(count(all)) {
		t.Fatalf("lost, and with all that is asked it may be won, policy %+v", o.policy)
	}
}

func TestNamesAreClosed(t *testing.T) {
	for r := range reasonCount {
		if r.String() == "" || r.String() == "unknown" {
			t.Errorf("reason %d has no name", r)
		}
	}
	if reasonCount.String() != "unknown" {
		t.Error("a reason that is none has a name")
	}
	if Pending.String() != "pending" || Won.String() != "won" || Lost.String() != "lost" {
		t.Error("verdicts have changed their names")
	}
}
