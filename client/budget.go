package client

import "sync/atomic"

// budget is a token bucket that is filled by the calls themselves: with a share of
// 0.1 there is one retry to ten calls. So retries cannot multiply the load on a
// cluster that is at its limit already, and keep it there.
type budget struct {
	tokens atomic.Int64 // thousandths
	share  int64        // thousandths for each call
	most   int64
}

const oneToken = 1000

// newBudget begins full, with burst tokens.
func newBudget(share float64, burst int) *budget {
	b := &budget{share: int64(share * oneToken), most: int64(burst) * oneToken}
	b.tokens.Store(b.most)
	return b
}

// earn is called for each call.
func (b *budget) earn() {
	if b.tokens.Load() < b.most {
		// May exceed the most by a few calls' shares at once, which is nothing.
		b.tokens.Add(b.share)
	}
}

// take spends a token, if there is one.
func (b *budget) take() bool {
	for {
		have := b.tokens.Load()
		if have < oneToken {
			return false
		}
		if b.tokens.CompareAndSwap(have, have-oneToken) {
			return true
		}
	}
}
