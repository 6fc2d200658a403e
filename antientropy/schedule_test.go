package antientropy

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

func pairsOf(partitions, peers int) (out []Pair) {
	for p := range partitions {
		for n := range peers {
			out = append(out, Pair{uint32(p), 3, sid(2 + n)})
		}
	}
	return out
}

var done = Result{Complete: true}

// Who goes first: urgent wishes, then endangered partitions, then peers that are back,
// then who has waited longest.
func TestScheduleOrder(t *testing.T) {
	s := NewSchedule(sid(1))
	s.Set(0, pairsOf(6, 2))
	now := 20 * time.Second
	for _, p := range pairsOf(6, 2) { // all have been compared, p5 earliest
		if p.Partition != 5 {
			s.find(p).since = 10 * time.Second
		}
	}
	for _, p := range s.pairs {
		p.returned = false
	}
	s.Want(now, Pair{3, 3, sid(3)})
	s.Endangered(4, 1)
	s.Endangered(2, 1)
	s.Reachable(now, sid(3), false)
	s.Reachable(now, sid(3), true)
	s.find(Pair{2, 3, sid(3)}).returned = false
	want := []Pair{{3, 3, sid(3)}, {4, 3, sid(3)}, {0, 3, sid(3)}, {5, 3, sid(3)}, {1, 3, sid(3)}, {2, 3, sid(2)}}
	// p5 waits longer than p0 and p1; peer 3 is back everywhere but in p2.
	want[2], want[3], want[4], want[5] = Pair{5, 3, sid(3)}, Pair{0, 3, sid(3)}, Pair{1, 3, sid(3)}, Pair{2, 3, sid(2)}
	var got []Pair
	for {
		d, ok := s.Next(now)
		if !ok {
			break
		}
		got = append(got, d.Pair)
		if d.Thorough != (d.Pair == want[0]) {
			t.Errorf("%+v", d)
		}
	}
	if len(got) != 6 || got[0] != want[0] || got[1] != want[1] {
		t.Fatalf("%v, want %v", got, want)
	}
	rank := map[Pair]int{}
	for i, p := range got {
		rank[p] = i
	}
	if rank[Pair{5, 3, sid(3)}] > rank[Pair{0, 3, sid(3)}] {
		t.Errorf("%v: p5 waited longest", got)
	}
}

// A partition has one exchange at a time, a peer a few, the shard a few more.
func TestScheduleBounds(t *testing.T) {
	s := NewSchedule(sid(1))
	s.Set(0, pairsOf(100, 3))
	perPeer, perPartition := map[hashring.SID]int{}, map[uint32]int{}
	n := 0
	for {
		d, ok := s.Next(time.Minute)
		if !ok {
			break
		}
		n++
		perPeer[d.Peer]++
		perPartition[d.Partition]++
		if perPeer[d.Peer] > maxPerPeer || perPartition[d.Partition] > 1 {
			t.Fatalf("%v and %v", perPeer, perPartition)
		}
	}
	if n != MaxLeading {
		t.Errorf("%d are led", n)
	}
	for p := range uint32(MaxServing + 5) {
		why, _ := s.Admit(time.Minute, Pair{50 + p, 3, sid(2)})
		if want := p >= MaxServing; (why == ReasonBusy) != want {
			t.Errorf("serving %d more: %v", p, why)
		}
	}
	if why, _ := s.Admit(time.Minute+servedFor, Pair{90, 3, sid(2)}); why != ReasonNone {
		t.Errorf("after the others have gone silent: %v", why)
	}
}

// Nobody is last for ever: with pairs that are always urgent, endangered and open, and
// peers that fail, every pair is compared again within a bounded time.
func TestScheduleIsFair(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	s := NewSchedule(sid(1))
	pairs := pairsOf(40, 2)
	s.Set(0, pairs)
	type running struct {
		Pair
		until Duration
	}
	var run []running
	began := map[Pair]Duration{}
	var worst Duration
	for now := Duration(0); now < 4*time.Hour; now += time.Second {
		for i := uint32(0); i < 20; i++ { // half of the partitions always shout
			s.Endangered(i, 3)
			s.Want(now, Pair{i, 3, sid(2)})
		}
		for i := 0; i < len(run); i++ {
			if run[i].until > now {
				continue
			}
			r := Result{Complete: true}
			if run[i].Partition < 20 {
				r = Result{Moving: 1}
			}
			if rng.IntN(10) == 0 {
				r = Result{Reason: ReasonTimeout}
			}
			s.End(now, run[i].Pair, r)
			run = append(run[:i], run[i+1:]...)
			i--
		}
		for len(run) < 2 {
			d, ok := s.Next(now)
			if !ok {
				break
			}
			worst = max(worst, now-began[d.Pair])
			began[d.Pair] = now
			run = append(run, running{d.Pair, now + 5*time.Second})
		}
	}
	for _, p := range pairs {
		worst = max(worst, 4*time.Hour-began[p])
	}
	t.Logf("the longest wait was %v", worst)
	if worst > MostWeight+10*time.Minute {
		t.Errorf("a pair waited %v", worst)
	}
}

// Equal pairs rest, open ones come again soon, failing ones later and later, and a
// peer that returns is compared at once.
func TestSchedulePaces(t *testing.T) {
	pair := Pair{0, 3, sid(2)}
	s := NewSchedule(sid(1))
	s.Set(0, []Pair{pair})
	now := Duration(0)
	rest := func(r Result) Duration {
		if _, ok := s.Next(now); !ok {
			t.Fatalf("not due at %v", now)
		}
		s.End(now, pair, r)
		if _, ok := s.Next(now); ok {
			t.Fatalf("due at once after %+v", r)
		}
		at := s.Wake(now)
		if _, ok := s.Next(at - 1); ok {
			t.Fatalf("due before %v", at)
		}
		d := at - now
		now = at
		return d
	}
	if d := rest(done); d != idleFor {
		t.Errorf("rests %v", d)
	}
	if d := rest(Result{Moving: 1}); d != againAfter {
		t.Errorf("again after %v", d)
	}
	for i, want := range []Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if d := rest(Result{Reason: ReasonTimeout, Resume: 7}); d != want*time.Second {
			t.Errorf("failure %d: again after %v", i, d)
		}
	}
	if d, _ := s.Next(now); d.Resume != 7 {
		t.Errorf("resumes at %d", d.Resume)
	}
	s.End(now, pair, Result{Reason: ReasonTimeout})
	s.Reachable(now, sid(2), false)
	if _, ok := s.Next(now + time.Hour); ok {
		t.Error("a peer that is down is compared")
	}
	s.Reachable(now, sid(2), true)
	if _, ok := s.Next(now); !ok {
		t.Error("a peer that is back must wait")
	}
}

// A wish is met only by a complete exchange that began after it.
func TestWantIsMetByWhatBeginsAfter(t *testing.T) {
	pair := Pair{0, 3, sid(2)}
	s := NewSchedule(sid(1))
	s.Set(0, []Pair{pair})
	s.Next(0)
	ticket, ok := s.Want(time.Second, pair)
	s.End(2*time.Second, pair, done)
	if !ok || s.Met(pair, ticket) {
		t.Fatal("met by an exchange that began before")
	}
	d, ok := s.Next(3 * time.Second)
	if !ok || !d.Thorough {
		t.Fatalf("%+v, %v", d, ok)
	}
	s.End(4*time.Second, pair, Result{Moving: 1})
	if s.Met(pair, ticket) {
		t.Fatal("met by an exchange that left something")
	}
	s.Next(time.Minute)
	s.End(time.Minute, pair, Result{Reason: ReasonTimeout})
	if s.Met(pair, ticket) {
		t.Fatal("met by one that failed")
	}
	s.Next(2 * time.Minute)
	s.End(2*time.Minute, pair, done)
	if !s.Met(pair, ticket) {
		t.Fatal("not met")
	}
	if d, _ := s.Next(3 * time.Minute); d.Thorough {
		t.Error("still thorough")
	}
	if _, ok := s.Want(0, Pair{9, 3, sid(2)}); ok {
		t.Error("a wish for a pair that is none")
	}
}

// When both ends lead, the lesser sid's exchange goes on; with a third one the
// partition is busy. Requests of an exchange that was not admitted belong to none.
func TestAdmit(t *testing.T) {
	for _, c := range []struct {
		self, peer, running int // running: with whom this store leads one, 0: none
		why                 Reason
		yield               bool
	}{
		{1, 2, 0, ReasonNone, false},
		{1, 2, 2, ReasonBusy, false},
		{3, 2, 2, ReasonNone, true},
		{3, 2, 1, ReasonBusy, false},
		{1, 2, 3, ReasonBusy, false},
	} {
		s := NewSchedule(sid(c.self))
		pair := Pair{0, 3, sid(c.peer)}
		if c.running != 0 {
			s.Set(0, []Pair{{0, 3, sid(c.running)}})
			s.Next(0)
		}
		if why, yield := s.Admit(0, pair); why != c.why || yield != c.yield {
			t.Errorf("%+v: %v, yield %v", c, why, yield)
		} else if s.Serves(0, pair) != (why == ReasonNone) {
			t.Errorf("%+v: serves %v", c, s.Serves(0, pair))
		}
	}
	s := NewSchedule(sid(1))
	s.Set(0, pairsOf(1, 2))
	s.Admit(0, Pair{0, 3, sid(2)})
	if why, _ := s.Admit(0, Pair{0, 3, sid(3)}); why != ReasonBusy {
		t.Errorf("a third: %v", why)
	}
	if _, ok := s.Next(0); ok {
		t.Error("a served partition is led beside")
	}
	s.Served(Pair{0, 3, sid(3)})
	if why, _ := s.Admit(0, Pair{0, 3, sid(3)}); why != ReasonBusy {
		t.Errorf("ended by another: %v", why)
	}
	s.Served(Pair{0, 3, sid(2)})
	if why, _ := s.Admit(0, Pair{0, 3, sid(3)}); why != ReasonNone {
		t.Errorf("after the end: %v", why)
	}
}

// Debt is what is known to differ, and since when not all peers were the same.
func TestDebt(t *testing.T) {
	s := NewSchedule(sid(1))
	s.Set(0, pairsOf(2, 2))
	end := func(at Duration, p int, peer int, r Result) {
		pair := Pair{uint32(p), 3, sid(peer)}
		s.find(pair).running, s.find(pair).began = true, at
		s.running = append(s.running, s.find(pair))
		s.End(at+time.Second, pair, r)
	}
	end(10*time.Second, 0, 2, done)
	end(20*time.Second, 0, 3, done)
	end(10*time.Second, 1, 2, done)
	end(20*time.Second, 1, 3, Result{Moving: 5, Damaged: 2})
	s.Want(0, Pair{1, 3, sid(2)})
	s.Next(25 * time.Second)
	got := s.Debts(30 * time.Second)
	if len(got) != 2 || got[0] != (Debt{Partition: 0, Behind: 20 * time.Second}) ||
		got[1] != (Debt{Partition: 1, Keys: 7, Behind: 30 * time.Second, Never: true, Running: true, Dirty: true}) {
		t.Errorf("%+v", got)
	}
	s.Progress(Pair{1, 3, sid(2)}, 900)
	if got := s.Debts(0); got[1].Keys != 900 {
		t.Errorf("%+v", got)
	}
	s.Set(0, pairsOf(1, 2))
	if got := s.Debts(0); len(got) != 1 || len(s.running) != 0 {
		t.Errorf("%+v, %d led", got, len(s.running))
	}
}

// A peer that leads an exchange and goes away, or falls silent, holds up the partition's
// other exchanges no longer than it takes to see it.
func TestASilentLeaderHoldsUpNobody(t *testing.T) {
	s := NewSchedule(sid(1))
	s.Set(0, []Pair{{0, 3, sid(2)}, {0, 3, sid(3)}})
	admit := func(now Duration) {
		if why, _ := s.Admit(now, Pair{0, 3, sid(2)}); why != ReasonNone {
			t.Fatalf("%v", why)
		}
		if d, ok := s.Next(now); ok {
			t.Fatalf("%+v beside it", d)
		}
	}
	admit(time.Minute)
	s.Reachable(time.Minute, sid(2), false)
	if d, ok := s.Next(time.Minute); !ok || d.Peer != sid(3) {
		t.Errorf("after it has gone: %+v %v", d, ok)
	}
	s.End(time.Minute, Pair{0, 3, sid(3)}, done)
	s.Reachable(time.Minute, sid(2), true)
	admit(2 * time.Minute)
	if _, ok := s.Next(2*time.Minute + answerWithin); ok {
		t.Error("a question that was lost would come again")
	}
	if _, ok := s.Next(2*time.Minute + servedFor); !ok {
		t.Error("it is waited for")
	}
}
