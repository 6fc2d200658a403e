package sim

import (
	"fmt"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/plant"
	"github.com/quoratedb/quorate/node/core"
)

// overloadStories are of stores that live and are too slow for what they are asked.
var overloadStories = []story{
	{name: "all restart under more load than they can serve", about: "what is slow is not made slower by naming other primaries again and again, and all is served once the load is gone",
		draw: func(d *Draw) { strongly(d); d.Partitions = 64 }, bugs: []plant.Bug{plant.JudgeCalmAlways}, tell: func(s *script) {
			for _, n := range s.w.nodes {
				n.kill(false)
			}
			for _, n := range s.w.nodes {
				n.start()
				n.slow = float64(20*time.Millisecond) / float64(s.w.draw.StepTime) // each event takes so long: 50 a second
			}
			from := s.epochs()
			s.press(40*time.Second, 10*time.Millisecond)
			if n := s.epochs() - from; n > 4*s.w.draw.Partitions {
				s.fail("%d changes of %d partitions in 40 s", n, s.w.draw.Partitions)
			}
			for _, n := range s.w.nodes {
				n.slow = 1
			}
			from = s.epochs()
			s.w.runUntil(s.w.now+time.Minute, func() bool { return s.inactive() == 0 })
			if n := s.inactive(); n > 0 {
				s.fail("%d partitions are not active a minute after the load has gone", n)
			}
			if n := s.epochs() - from; n > 2*s.w.draw.Partitions {
				s.fail("%d more changes of %d partitions after the load has gone", n, s.w.draw.Partitions)
			}
		}},
}

// epochs adds up those of all partitions: each change of one is one more.
func (s *script) epochs() (n int) {
	for p := range s.w.auth.state.Partitions {
		n += int(s.w.auth.state.Partitions[p].Strong.Epoch)
	}
	return n
}

// inactive counts the partitions without an active primary.
func (s *script) inactive() (n int) {
	for p := range s.w.auth.state.Partitions {
		if !s.w.auth.state.Partitions[p].Strong.Activated {
			n++
		}
	}
	return n
}

// press writes keys of all partitions for so long, one every so often, whatever comes of
// those before, mostly at their primaries.
func (s *script) press(long, every time.Duration) {
	for i, end := 0, s.w.now+long; s.w.now < end; i++ {
		key := fmt.Sprintf("k%d", i%500)
		n := s.w.nodes[i%len(s.w.nodes)]
		if p := s.w.auth.ringAt(s.w.auth.state.Version).PartitionOf(hashring.Hash(strongBucket, []byte(key))); i%4 > 0 {
			n = s.w.bySID[s.w.auth.state.Partitions[p].Primary]
		}
		s.ask(n, core.OpPut, strongBucket, s.value(), onKey(key), within(2*time.Second))
		s.run(every)
	}
}
