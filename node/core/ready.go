package core

import (
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/strong"
)

// Now is the time as an argument. Mono never goes back while the process lives
// and is for deadlines; WallMS is unix milliseconds and is for stamps only.
type Now struct {
	Mono   time.Duration
	WallMS int64
	Boot   time.Duration // runs while the machine is suspended too: for leases, 0 without them
}

// Event is one thing that happened. Exactly one field is set.
type Event struct {
	Request *Request
	Message *Message
	Ring    *hashring.Ring
	View    *View
	Down    hashring.SID // the transport lost or could not make its connection to this store
	Loaded  *Loaded
	Synced  uint64 // the batches up to this Seq are durable
	// Confirmed: this store's boot is registered through Raft, or its peers know
	// no later boot of it; from now on it answers as an owner (D6).
	Confirmed bool
	// Space is set when free space crossed the reserve (D3).
	Space Tri // No: below the reserve; Yes: above it again
	// Drain asks the shard to take no new client requests.
	Drain bool
	// Decided is what has become of a Proposal.
	Decided *Decided
}

// Proposal asks the driver to have something committed to the ring state through Raft.
// Exactly one of Filled and Purge is set. The driver gathers those of all shards into
// one command where it can; each gets one Decided, or none if the process ends.
type Proposal struct {
	Token  uint64 // echoed; the shard in its top byte, as in ids
	Filled *hashring.Place
	Purge  *hashring.PurgeRound
}

// Decided tells that a proposal was applied, or was not and may be made again: it was
// refused, or nobody knows. The newer ring state comes as an Event of its own.
type Decided struct {
	Token   uint64
	Applied bool
}

// View is gossip's opinion: true for the alive, false for the dead; a store it has
// not met is not in it. Immutable.
type View struct {
	Alive map[hashring.SID]bool
}

// Ready is what one step wants done. Its slices are valid until the next Step.
type Ready struct {
	// Batch goes to disk as one synced write; Empty: nothing to write.
	Batch *Batch
	// Now may leave at once: nothing in it depends on what is not yet durable.
	Now []Out
	// AfterSync may leave once the batch with its Seq is durable.
	AfterSync []Gated
	// Loads are long reads to run beside the shard.
	Loads []Load
	// Proposals are for the Raft group.
	Proposals []Proposal
	// Words about strong partitions are for whoever leads the Raft group. None is
	// answered: they are said again until the ring state changes.
	Words []strong.Word
	// Damage, when not nil: what the store has of some strong partition cannot be trusted
	// (D4). It counts for nothing there from now on; the driver has the whole store
	// replaced once it can be spared. Told once for each partition.
	Damage error
	// WantRing, when above the known version, asks the driver to fetch a newer ring
	// state; From is the store that knows it (zero: anybody).
	WantRing     uint64
	WantRingFrom hashring.SID
	// Deadline is when to step again if nothing happens, in Now.Mono; 0: never.
	Deadline time.Duration
}

// Out is a message to a peer or a reply to a client of this node.
type Out struct {
	Message *Message // To is set
	Reply   *Reply
	Waiter  any // with Reply
}

// Gated is an Out that reveals what batch Seq makes durable.
type Gated struct {
	Seq uint64
	Out Out
}
