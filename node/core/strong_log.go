package core

import "github.com/quoratedb/quorate/quorum/strong"

// StrongLog is where this store's log of a strong partition ends, for an operator who has
// to choose among what is left of it.
type StrongLog struct {
	Last   strong.Position
	Commit uint64 // known here to be committed
	Full   bool   // it can be trusted: nothing of it is damaged, and the store is not suspect
}

// StrongLog of a partition of this shard; false: the store has nothing of it.
func (c *Core) StrongLog(p uint32) (StrongLog, bool) {
	sp := c.strong.parts[p]
	if sp == nil || sp.r == nil {
		return StrongLog{}, sp != nil && sp.broken
	}
	st := sp.r.Status()
	return StrongLog{Last: st.Last, Commit: st.Commit, Full: !st.Suspect}, true
}
