package antientropy

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var paced = PaceConfig{Target: 10 * time.Millisecond, Floor: 1 << 20, Ceiling: 64 << 20}

// AIMD: down at once when the foreground suffers, up in steps when it does not, never
// beyond floor and ceiling.
func TestPacerFollowsTheForeground(t *testing.T) {
	p := NewPacer(paced)
	now := Duration(0)
	sample := func(p99 Duration, n uint64) int64 {
		now += time.Second
		p.Charge(ClassScrub, p.Rate()) // all of it was used
		p.Sample(now, p99, n)
		return p.Rate()
	}
	if p.Rate() != paced.Floor {
		t.Errorf("it begins with %d", p.Rate())
	}
	if got := sample(time.Millisecond, 10); got != paced.Floor+paced.Ceiling/32 {
		t.Errorf("after a calm window %d", got)
	}
	before := p.Rate()
	if got := sample(9500*time.Microsecond, 10); got != before {
		t.Errorf("just below the target %d, before %d", got, before)
	}
	if got := sample(11*time.Millisecond, 1); got != before*3/4 {
		t.Errorf("over the target %d, before %d", got, before)
	}
	for range 100 {
		sample(time.Second, 100)
	}
	if p.Rate() != paced.Floor {
		t.Errorf("under a suffering foreground %d", p.Rate())
	}
	for range 100 {
		sample(time.Hour, 0) // nobody asks: the old p99 says nothing
	}
	if p.Rate() != paced.Ceiling {
		t.Errorf("without a foreground %d", p.Rate())
	}
	for range 10 {
		now += time.Second
		p.Sample(now, time.Millisecond, 10)
	}
	if p.Rate() != paced.Floor {
		t.Errorf("after ten windows without work %d", p.Rate())
	}
}

// Work must not add more than a third to the p99 that the foreground has without it, far
// as the operator's target may be; where there is always work the target follows slowly.
func TestPacerKnowsTheUndisturbed(t *testing.T) {
	p := NewPacer(paced)
	now := Duration(0)
	sample := func(spent int64, p99 Duration, n uint64) int64 {
		now += time.Second
		p.Charge(ClassExchange, spent)
		p.Sample(now, p99, n)
		return p.Rate()
	}
	sample(p.Rate(), time.Millisecond, 1000)
	sample(0, 8*time.Millisecond, learnFrom-1)
	if p.Target() != paced.Target {
		t.Errorf("work was under way, or too few asked: %v", p.Target())
	}
	for range 100 {
		sample(paced.Floor/quietPart, 900*time.Microsecond, 1000)
	}
	if p.Target() != 1200*time.Microsecond {
		t.Fatalf("a third above 900 us: %v", p.Target())
	}
	up := sample(p.Rate(), time.Millisecond, 1000)
	if down := sample(up, 1300*time.Microsecond, 1000); up <= paced.Floor || down >= up {
		t.Errorf("%d, and over the target %d", up, down)
	}
	for range 60 { // the foreground itself has become slower
		sample(p.Rate(), 3*time.Millisecond, 1000)
	}
	if p.Rate() != paced.Floor || p.Target() < 2*time.Millisecond {
		t.Errorf("after a minute %v, rate %d", p.Target(), p.Rate())
	}
	for range 600 {
		sample(p.Rate(), 3*time.Millisecond, 1000)
	}
	if p.Rate() < 8*paced.Floor {
		t.Errorf("after ten more %v, rate %d", p.Target(), p.Rate())
	}
	for range 100 {
		sample(0, time.Minute, 1000)
	}
	if p.Target() != paced.Target {
		t.Errorf("never above the operator's: %v", p.Target())
	}
}

// While work waits the floor is granted in every second, whatever the foreground does;
// never more than the rate and a burst; tickets of a class in order.
func TestPacerFloorAndBurst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		p := NewPacer(paced)
		cost := map[uint64]int64{}
		class := map[uint64]Class{}
		id, last := uint64(0), map[Class]uint64{}
		now, wake := Duration(0), Duration(0)
		var sum, most, allowed, biggest int64
		for now < 20*time.Second {
			for c := range classCount {
				for len(p.queues[c]) < 20 && (c == ClassExchange || rng.IntN(3) == 0) {
					id++
					cost[id], class[id] = 1+rng.Int64N(512<<10), c
					biggest = max(biggest, cost[id])
					p.Ask(c, id, cost[id])
				}
			}
			ids, w := p.Grants(now)
			for _, i := range ids {
				sum += cost[i]
				if i < last[class[i]] {
					t.Fatalf("%d before %d of its class", i, last[class[i]])
				}
				last[class[i]] = i
			}
			if w <= now {
				t.Fatalf("work waits, and the pacer wakes at %v, now is %v", w, now)
			}
			step := min(w-now, Duration(1+rng.Int64N(int64(50*time.Millisecond))))
			wake = now + step
			allowed += p.Rate() * int64(step) / int64(time.Second)
			most = max(most, p.Rate())
			now = wake
			if rng.IntN(20) == 0 {
				p.Sample(now, Duration(rng.Int64N(int64(15*time.Millisecond))), 10)
			}
			if floor := paced.Floor*int64(now)/int64(time.Second) - biggest - paced.Floor; sum < floor {
				t.Fatalf("%d bytes by %v, the floor is %d", sum, now, floor)
			}
			if sum > allowed+most/10+biggest+1 {
				t.Fatalf("%d bytes by %v, the rate allows %d", sum, now, allowed)
			}
		}
	})
}

// After an idle hour there is one burst, not an hour's worth.
func TestPacerSavesUpLittle(t *testing.T) {
	p := NewPacer(paced)
	p.Grants(time.Hour)
	for i := range uint64(1000) {
		p.Ask(ClassScrub, i, 10<<10)
	}
	ids, _ := p.Grants(time.Hour)
	if got := int64(len(ids)) * 10 << 10; got > paced.Floor/10+10<<10 {
		t.Errorf("%d bytes at once", got)
	}
}

// Classes that always have work share by weight; what one leaves the others take.
func TestPacerSharesByWeight(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	p := NewPacer(paced)
	id := uint64(0)
	run := func(classes ...Class) {
		p.Granted = [classCount]int64{}
		for range 2000 {
			for _, c := range classes {
				for len(p.queues[c]) < 8 {
					id++
					p.Ask(c, id, 1+rng.Int64N(300<<10))
				}
			}
			_, wake := p.Grants(p.last)
			p.accrue(wake)
		}
	}
	run(ClassHandOff, ClassExchange, ClassScrub, ClassRefill)
	unit := p.Granted[ClassScrub]
	for c := range classCount {
		if got := p.Granted[c] / weights[c]; got*10 < unit*8 || got*10 > unit*12 {
			t.Errorf("%v got %d, the scrub %d", c, p.Granted[c], unit)
		}
	}
	for c := range classCount {
		p.queues[c] = nil
	}
	run(ClassScrub)
	alone := p.Granted[ClassScrub]
	if d := p.deficit[ClassHandOff]; d != 0 {
		t.Errorf("an idle class has saved up %d", d)
	}
	if alone < 5*unit {
		t.Errorf("alone the scrub got %d, with the others %d", alone, unit)
	}
}

func TestPacerBoundsAndCancels(t *testing.T) {
	p := NewPacer(paced)
	for i := range uint64(MaxTickets) {
		if !p.Ask(ClassExchange, i, 1<<50) {
			t.Fatalf("ticket %d was refused", i)
		}
	}
	if p.Ask(ClassExchange, 5000, 1) || !p.Ask(ClassScrub, 5001, 1) {
		t.Error("the bound is another")
	}
	for i := range uint64(MaxTickets) {
		p.Cancel(ClassExchange, i)
	}
	if ids, wake := p.Grants(time.Second); len(ids) != 1 || ids[0] != 5001 || wake != 0 {
		t.Errorf("granted %v, wake %v", ids, wake)
	}
}

// A unit that took more than it asked for is paid for by those that come after it.
func TestPacerCharges(t *testing.T) {
	took := func(more int64) Duration {
		p := NewPacer(paced)
		p.Grants(time.Second)
		p.Ask(ClassExchange, 1, 200<<10)
		p.Grants(time.Second)
		p.Charge(ClassExchange, more)
		p.Ask(ClassExchange, 2, 1)
		for now := time.Second; ; {
			ids, wake := p.Grants(now)
			if len(ids) > 0 {
				return now - time.Second
			}
			now = wake
		}
	}
	plain, more, less := took(0), took(1<<20), took(-150<<10)
	if d := more - plain; d < 990*time.Millisecond || d > 1010*time.Millisecond || less != 0 || plain == 0 {
		t.Errorf("as asked %v, with a megabyte more %v, with less %v", plain, more, less)
	}
}
