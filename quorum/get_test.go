package quorum

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// held builds what a replica holds from a picture: "-" is nothing, "1" the first
// write, "2" one that has overwritten it, "3" one beside both,
// "13" the first and the third.
func held(picture string) *version.Object {
	one := version.Write(nil, nil, version.Sibling{Dot: version.Dot{Actor: 1, Counter: 1}})
	switch picture {
	case "1":
		return one
	case "2":
		return version.Write(one, one.Context, version.Sibling{Dot: version.Dot{Actor: 1, Counter: 2}})
	case "3":
		return version.Write(nil, nil, version.Sibling{Dot: version.Dot{Actor: 3, Counter: 1}})
	case "13":
		return version.Join(one, held("3"))
	}
	return nil
}

// A read's life in lines "event | asks | verdict": a=1 replies, -a fails, ? hedges.
type getStory struct {
	name      string
	need      int
	sloppy    bool
	owners    string
	fallbacks string
	down      string
	after     string // what the answer must include, as for held
	purged    string // the purge clock, likewise
	lines     []string
	stale     bool
	receipt   string
	failures  string
	behind    string
	abreast   string
}

var getStories = []getStory{
	{name: "two of three agree", need: 2, owners: "a b c", lines: []string{"| a b | pending", "b=1 | | pending", "a=1 | | won"},
		receipt: "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=0", abreast: "a b"},
	{name: "absence is an owner's reply", need: 2, owners: "a b c", lines: []string{"| a b | pending", "b=- | | pending", "a=- | | won"},
		receipt: "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=0", abreast: "a b"},
	{name: "one is behind", need: 2, owners: "a b c", lines: []string{"| a b | pending", "b=1 | | pending", "a=2 | | won"},
		receipt: "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=0", behind: "b", abreast: "a"},
	{name: "both are behind the join", need: 2, owners: "a b c", lines: []string{"| a b | pending", "b=3 | | pending", "a=2 | | won"},
		receipt: "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=0", behind: "a b"},
	{name: "a failure brings in the spare one", need: 2, owners: "a b c", lines: []string{"| a b | pending", "-a | c | pending", "b=1 | | pending", "c=1 | | won"},
		receipt: "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=0", failures: "a:corrupt", abreast: "b c"},
	{name: "lost with the second failure of three", need: 2, owners: "a b c", lines: []string{"| a b | pending", "-a | c | pending", "-b | | pending", "c=1 | | lost"},
		receipt: "n=3, need=2, acks=1, owners=1, fallbacks=0, synced=0", failures: "a:corrupt b:corrupt", abreast: "c"},
	{name: "unreachable owners are passed over", need: 2, owners: "a b c", down: "a", lines: []string{"| b c | pending", "b=1 | | pending", "c=1 | | won"},
		receipt: "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=0", failures: "a:unreachable", abreast: "b c"},
	{name: "strict: no fallback is ever asked", need: 2, owners: "a b c", fallbacks: "x y", down: "a b", lines: []string{"| c | pending", "c=1 | | lost"},
		receipt: "n=3, need=2, acks=1, owners=1, fallbacks=0, synced=0", failures: "a:unreachable b:unreachable", abreast: "c"},
	{name: "sloppy: a fallback counts for what it holds (F46)", need: 2, sloppy: true, owners: "a b c", fallbacks: "x y", down: "a b",
		lines:   []string{"| c x | pending", "c=- | | pending", "x=1 | | won"},
		receipt: "n=3, need=2, acks=2, owners=1, fallbacks=1, synced=0", failures: "a:unreachable b:unreachable", behind: "c"},
	{name: "sloppy: a fallback's silence is no reply (E6)", need: 2, sloppy: true, owners: "a b c", fallbacks: "x y", down: "a b",
		lines:   []string{"| c x | pending", "x=- | y | pending", "c=- | | pending", "y=- | | lost"},
		receipt: "n=3, need=2, acks=1, owners=1, fallbacks=0, synced=0", failures: "a:unreachable b:unreachable", abreast: "c"},
	{name: "a hedge asks one more and hurts nobody", need: 1, owners: "a b", lines: []string{"| a | pending", "? | b | pending", "? | | pending", "b=1 | | won", "a=2 | | won"},
		receipt: "n=2, need=1, acks=2, owners=2, fallbacks=0, synced=0", behind: "b", abreast: "a"},
	{name: "a session's context asks on", need: 1, owners: "a b c", after: "2", lines: []string{"| a | pending", "a=1 | b | pending", "b=2 | | won"},
		receipt: "n=3, need=1, acks=2, owners=2, fallbacks=0, synced=0", behind: "a", abreast: "b"},
	{name: "a session's context that nobody has is stale, not absent", need: 1, owners: "a b", after: "2", lines: []string{"| a | pending", "a=1 | b | pending", "b=- | | lost"},
		stale: true, receipt: "n=2, need=1, acks=2, owners=2, fallbacks=0, synced=0", behind: "b", abreast: "a"},
	{name: "a session's context may lie in a hint", need: 1, sloppy: true, owners: "a b", fallbacks: "x", down: "b", after: "2",
		lines:   []string{"| a | pending", "a=1 | x | pending", "x=2 | | won"},
		receipt: "n=2, need=1, acks=2, owners=1, fallbacks=1, synced=0", failures: "b:unreachable", behind: "a"},
	{name: "a session's context that is purged is met by absence", need: 1, owners: "a b", after: "2", purged: "2", lines: []string{"| a | pending", "a=- | | won"},
		receipt: "n=2, need=1, acks=1, owners=1, fallbacks=0, synced=0", abreast: "a"},
	{name: "what lies above the purge clock is asked for", need: 1, owners: "a b", after: "2", purged: "1", lines: []string{"| a | pending", "a=- | b | pending", "b=2 | | won"},
		receipt: "n=2, need=1, acks=2, owners=2, fallbacks=0, synced=0", behind: "a", abreast: "b"},
	{name: "a fallback's purged value is no reply and is not shown (E6)", need: 1, sloppy: true, owners: "a", fallbacks: "x y", down: "a", purged: "1",
		lines:   []string{"| x | pending", "x=1 | y | pending", "y=2 | | won"},
		receipt: "n=1, need=1, acks=1, owners=0, fallbacks=1, synced=0", failures: "a:unreachable"},
	{name: "nor does what stands beside a purged value count alone", need: 1, sloppy: true, owners: "a", fallbacks: "x", down: "a", purged: "1",
		lines:   []string{"| x | pending", "x=13 | | lost"},
		receipt: "n=1, need=1, acks=0, owners=0, fallbacks=0, synced=0", failures: "a:unreachable"},
	{name: "an owner that holds what is at the purge clock counts", need: 1, owners: "a", purged: "2", lines: []string{"| a | pending", "a=1 | | won"},
		receipt: "n=1, need=1, acks=1, owners=1, fallbacks=0, synced=0", abreast: "a"},
	{name: "second answers and strangers change nothing", need: 2, owners: "a b c", lines: []string{"| a b | pending", "a=1 | | pending", "a=1 | | pending", "-a | | pending", "q=1 | | pending", "c=1 | | pending", "b=1 | | won"},
		receipt: "n=3, need=2, acks=2, owners=2, fallbacks=0, synced=0", abreast: "a b"},
	{name: "n=1", need: 1, owners: "a", lines: []string{"| a | pending", "a=- | | won"},
		receipt: "n=1, need=1, acks=1, owners=1, fallbacks=0, synced=0", abreast: "a"},
	{name: "n=5, r=3", need: 3, owners: "a b c d e", down: "b", lines: []string{"| a c d | pending", "-a | e | pending", "c=1 | | pending", "d=1 | | pending", "e=1 | | won"},
		receipt: "n=5, need=3, acks=3, owners=3, fallbacks=0, synced=0", failures: "b:unreachable a:corrupt", abreast: "c d e"},
}

func TestGetStories(t *testing.T) {
	for _, s := range getStories {
		t.Run(s.name, func(t *testing.T) {
			owners := sids(s.owners)
			var after version.Vector
			if s.after != "" {
				after = held(s.after).Context
			}
			var purged version.Vector
			if s.purged != "" {
				purged = held(s.purged).Context
			}
			g := NewGet(Policy{N: len(owners), Need: s.need, Sloppy: s.sloppy}, owners, sids(s.fallbacks),
				func(o hashring.SID) bool { return !strings.Contains(s.down, letter(o)) }, after, purged)
			for _, line := range s.lines {
				f := strings.Split(line, "|")
				tellGet(g, strings.TrimSpace(f[0]))
				if asks := drawReads(g.Take()); asks != strings.TrimSpace(f[1]) {
					t.Fatalf("%s: asks %q", line, asks)
				}
				if v := g.Verdict().String(); v != strings.TrimSpace(f[2]) {
					t.Fatalf("%s: %s", line, v)
				}
			}
			if g.Stale() != s.stale {
				t.Errorf("stale is %v", g.Stale())
			}
			if got := g.Receipt().String(); got != s.receipt {
				t.Errorf("receipt %s", got)
			}
			if got := drawFailures(g.Failures()); got != s.failures {
				t.Errorf("failures %s", got)
			}
			if got := drawStores(g.Behind(g.Object())); got != s.behind {
				t.Errorf("behind %s", got)
			}
			if got := drawStores(g.Abreast(g.Object())); got != s.abreast {
				t.Errorf("abreast %s", got)
			}
		})
	}
}

func tellGet(g *Get, event string) {
	switch {
	case event == "":
	case event == "?":
		g.More()
	case event[0] == '-':
		g.Fail(sid(event[1:]), ReasonCorrupt)
	default:
		from, what, _ := strings.Cut(event, "=")
		g.Reply(sid(from), held(what))
	}
}

func drawReads(asks []Ask) string {
	var out []string
	for _, a := range asks {
		out = append(out, letter(a.To))
	}
	return strings.Join(out, " ")
}

func drawStores(s []hashring.SID) string {
	var out []string
	for _, s := range s {
		out = append(out, letter(s))
	}
	return strings.Join(out, " ")
}

// Whatever the order of answers: won exactly with enough replies that include the
// session's context, never lost while an answer is out, never back from either,
// and the object is the join of what was replied.
func TestGetNeverLies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 2, 3, 5}).Draw(t, "n")
		policy := Policy{N: n, Need: rapid.IntRange(1, n).Draw(t, "need"), Sloppy: rapid.Bool().Draw(t, "sloppy")}
		fallbacks := "vwxyz"[:rapid.IntRange(0, 5).Draw(t, "fallbacks")]
		down := rapid.StringMatching("[a-e]{0,3}").Draw(t, "down")
		var after version.Vector
		if rapid.Bool().Draw(t, "session") {
			after = held(rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "after")).Context
		}
		g := NewGet(policy, sids(spaced("abcde"[:n])), sids(spaced(fallbacks)),
			func(s hashring.SID) bool { return !strings.Contains(down, letter(s)) }, after, nil)
		var open []Ask
		seen := map[hashring.SID]bool{}
		owners, stands := 0, 0
		var all *version.Object
		last := g.Verdict()
		for {
			for _, a := range g.Take() {
				if seen[a.To] {
					t.Fatalf("%s is asked twice", letter(a.To))
				}
				seen[a.To] = true
				open = append(open, a)
			}
			v := g.Verdict()
			includes := len(after) == 0 || all != nil && all.Context.Dominates(after)
			if want := owners+stands >= policy.Need && includes; want != (v == Won) {
				t.Fatalf("%d owners and %d fallbacks replied, verdict %v, policy %+v", owners, stands, v, policy)
			}
			if v == Lost && len(open) > 0 || v == Pending && len(open) == 0 {
				t.Fatalf("%v with %d answers out", v, len(open))
			}
			if last != Pending && v != last {
				t.Fatalf("%v became %v", last, v)
			}
			if !version.Same(g.Object(), all) {
				t.Fatalf("object %v, replies join to %v", g.Object(), all)
			}
			if r := g.Receipt(); r.Owners != owners || r.Fallbacks != stands || r.Acks != owners+stands {
				t.Fatalf("%d owners and %d fallbacks replied, receipt %v", owners, stands, r)
			}
			last = v
			if len(open) == 0 {
				break
			}
			i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
			a := open[i]
			switch rapid.IntRange(0, 4).Draw(t, "answer") {
			case 0, 1, 2:
				o := held(rapid.SampledFrom([]string{"-", "1", "2", "3"}).Draw(t, "holds"))
				g.Reply(a.To, o)
				switch {
				case a.Target.IsZero():
					owners++
				case o != nil:
					stands++
				}
				all = version.Join(all, o)
				open = append(open[:i], open[i+1:]...)
			case 3:
				g.Fail(a.To, ReasonOverloaded)
				open = append(open[:i], open[i+1:]...)
			default:
				g.More()
			}
		}
		if last == Lost && policy.Need <= n && !g.Stale() && owners == n {
			t.Fatal("all owners replied and the read is lost")
		}
	})
}
