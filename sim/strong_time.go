package sim

import (
	"slices"
	"time"

	"github.com/quoratedb/quorate/quorum/strong"
)

// clockSlack: a primary runs the clocks of others on by its own, which may be a tenth too
// fast, from their last acks on.
const clockSlack = time.Minute

// logTime holds the next committed entry to what the log's time promises: it never goes
// back, and no single wrong clock moves it (S12, F43). A store that is alone has no other
// clock to go by.
func (t *strongTruth) logTime(p uint32, sp *strongPart, e *strong.Entry) {
	before := int64(0)
	if n := len(sp.log); n > 0 {
		before = sp.log[n-1].TimeMS
	}
	if e.TimeMS < before {
		t.wrong(p, "S12", "%v is stamped %d ms before the entry before it", e, before-e.TimeMS)
	}
	most := epochMS + t.w.now.Milliseconds() + t.w.secondFastest() + clockSlack.Milliseconds()
	if !sp.alone && e.TimeMS > max(before, most) {
		t.wrong(p, "S12", "%v is stamped %d ms ahead of all clocks but one", e, e.TimeMS-most)
	}
}

// secondFastest is how far ahead, in ms, all clocks but one have been at most.
func (w *World) secondFastest() int64 {
	var ahead []int64
	for _, n := range w.nodes {
		ahead = append(ahead, n.clock.aheadMS)
	}
	slices.Sort(ahead)
	return ahead[max(0, len(ahead)-2)]
}
