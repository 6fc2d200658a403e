package live

import (
	"fmt"
	"strings"

	"github.com/quoratedb/quorate/sim/check"
)

// fate is what is known of a write after several copies of it were answered. Copies
// with an id are one write, so one answer that is certain speaks for all of them: it was
// done, or compared and refused. Without an id only one copy may have arrived.
type fate struct {
	known         bool
	outcome       check.Outcome
	version       string
	count         int64
	contradiction string // two certain answers that differ
}

// take adds answers, and tells whether one of them says that the write may be tried
// again.
func (f *fate) take(answers []answer) (retryable bool) {
	for i := range answers {
		f.one(&answers[i])
		retryable = retryable || answers[i].retryable
	}
	return retryable
}

// settled tells that an answer was certain.
func (f *fate) settled() bool {
	return f.known && (f.outcome == check.OK || f.outcome == check.Mismatch)
}

func (f *fate) one(a *answer) {
	certain := a.outcome == check.OK || a.outcome == check.Mismatch
	settled := f.settled()
	switch {
	case certain && settled:
		if a.outcome != f.outcome || a.version() != f.version || a.count != f.count {
			f.contradiction = fmt.Sprintf("one copy is %v %s %d, another %v %s %d", f.outcome, f.version, f.count, a.outcome, a.version(), a.count)
		}
		return
	case settled:
		return
	case certain:
		f.version, f.count = a.version(), a.count
	case f.known && f.outcome == check.Unknown:
		return // it may still be, whatever a later copy met
	}
	f.known, f.outcome = true, a.outcome
}

// version is the ETag of a strong bucket without its quotes.
func (a *answer) version() string { return strings.Trim(a.etag, `"`) }
