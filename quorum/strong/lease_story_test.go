package strong

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// lease has the stores that start from now on lend their promises for so long.
func (st *stage) lease(w []string) {
	d, err := time.ParseDuration(w[0])
	if err != nil {
		st.t.Fatal(err)
	}
	st.opts.Lease = d
}

// wakeUp ends the sleep of a machine: all that has come meanwhile is one step.
func (st *stage) wakeUp(w []string) {
	a := st.at(w[0])
	inbox := a.inbox
	a.sleeps, a.inbox = false, nil
	a.step(func() {
		for _, do := range inbox {
			do()
		}
	})
}

// handOver has a primary give its role up in good order.
func (st *stage) handOver(w []string) {
	a := st.at(w[0])
	a.step(func() { a.r.HandOver(hashring.SID{}) })
}
