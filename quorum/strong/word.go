package strong

import "github.com/quoratedb/quorate/hashring"

// Word is what one store says of one partition to the Raft group's leader, whose Judge
// makes changes of the ring state of it.
type Word struct {
	Partition uint32       `json:"partition"`
	From      hashring.SID `json:"from"`
	Kind      ProposalKind `json:"kind"`
	Epoch     uint64       `json:"epoch"` // of the configuration it speaks of
	Prefer    hashring.SID `json:"prefer,omitzero"`
	Last      Position     `json:"last"` // where the speaker's log ends, durably
	Full      bool         `json:"full"` // it has forgotten nothing, so it may lead
}
