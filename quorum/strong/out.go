package strong

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// Storage is the shard's batch and overlay as one partition sees it. Reads are of point
// records and see every Write staged before, durable or not; an absent row is nil
// without error. What cannot be trusted is an error, never absent (D4).
type Storage interface {
	// Stage adds to the batch of the present step.
	Stage(w Write)
	// Entry of the log that is behind Hard.Base.
	Entry(index uint64) (*Entry, error)
	Value(generation uint64, b hashring.BucketID, key []byte) (*Value, error)
	Completion(generation uint64, id RequestID) (*Completion, error)
}

// WriteKind says what a Write changes.
type WriteKind uint8

const (
	PutHard        WriteKind = iota + 1 // Hard
	PutEntry                            // Entry
	CutTail                             // drop log entries at Index and behind
	CutHead                             // drop log entries up to Index
	PutValue                            // Generation, Row: bucket, key, value
	DropValue                           // Generation, Row: bucket, key
	PutCompletion                       // Generation, Row: Done
	Expire                              // Generation: completion records stamped before StampMS may go, at any time
	DropGeneration                      // all values and completion records of Generation
)

// Write is one durable effect. All writes of a step go into one synced batch, in
// their order; batches are synced in order (D1).
type Write struct {
	Kind       WriteKind
	Hard       Hard
	Entry      *Entry
	Index      uint64
	Generation uint64
	Row        Row
	StampMS    int64
	// Lazy: what applying changes. The log holds it, so it may become durable later
	// than the step's batch: in order with what is lazy, at the latest with the next
	// write that is not, entries of the log apart. Reads see it at once.
	Lazy bool
}

// Send is a message to another replica of the partition. It may leave once batch Gate
// is durable; 0: at once.
type Send struct {
	To   hashring.SID
	Gate uint64
	Msg  *Message
}

// Load asks for a slice of the durable values or completion records of a generation,
// behind After in the storage's order, at most Rows of them and about Bytes, at least
// one. It comes back by Loaded. All that is staged when it is asked for, lazy or not, is
// durable when it is read.
type Load struct {
	Token      uint64
	Part       Part
	Generation uint64
	After      []byte
	Rows       int
	Bytes      int
}

// ProposalKind says what is asked of the Raft group.
type ProposalKind uint8

const (
	// Activate: this store leads Epoch and its barrier is committed (T3 needs it).
	Activate ProposalKind = iota + 1
	// Silent: the primary of Epoch has not been heard for Options.Silence.
	Silent
	// AskOut: the primary of Epoch gives up, for Prefer if that is set.
	AskOut
	// LearnerReady: Prefer has caught up twice running and may enter by T2.
	LearnerReady
	// Stalled: this store's disk hangs; it should lead nothing for a while.
	Stalled
	// Spare: the primary of Epoch leads more than its share, and Prefer, which leads less,
	// has its whole log.
	Spare
)

func (k ProposalKind) String() string {
	return [...]string{"none", "activate", "silent", "ask_out", "learner_ready", "stalled", "spare", "unknown"}[min(k, 7)]
}

// Proposal to the Raft group. It is repeated until the configuration changes.
type Proposal struct {
	Kind   ProposalKind
	Epoch  uint64
	Prefer hashring.SID
	Last   Position // where this store's log ends, durably
	Full   bool     // it may lead: it has forgotten nothing, and its values add up
}

// Out is what a step wants done. Its slices are the caller's until Recycle.
type Out struct {
	Staged    bool // something that is not lazy went into the step's batch
	Sends     []Send
	Replies   []Reply // they reveal nothing that could be lost
	Loads     []Load
	Proposals []Proposal
	WantRing  uint64        // fetch the ring state: somebody goes by this epoch of the partition, or by learners unknown here
	Wake      time.Duration // step again by then if nothing happens; 0: never
	Err       error         // the storage failed a read: the store is suspect
}
