package strong

import (
	"fmt"
	"strings"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// MessageKind of a message between two replicas of one partition.
type MessageKind uint8

// Beside each what it carries. Every message has Epoch: that of the sender's role or
// plan in a request, echoed in the reply.
const (
	MsgSeal           MessageKind = 1  // primary: promise my epoch
	MsgSealAck        MessageKind = 2  // Full, Last, Commit
	MsgNak            MessageKind = 3  // Promised: above Epoch; the asker's role or plan is over
	MsgPull           MessageKind = 4  // new primary: Prev.Index: entries behind it
	MsgPullReply      MessageKind = 5  // Prev: as it stands here; Entries; Last; Gone: cut off already
	MsgAppend         MessageKind = 6  // Prev, Entries, Commit, Safe, Round; SumAt, Sum: of the sender's values at an index; Differs: yours are wrong; Asked: for a lease
	MsgAppendAck      MessageKind = 7  // Match, Applied, Full, Round, WallMS, Differs, SumAt, Sum: less the primary's; Asked, Lease: lent for; Reject: Prev.Index of the request, Match: try behind it, no WallMS
	MsgConfirm        MessageKind = 8  // Round
	MsgConfirmAck     MessageKind = 9  // Round, Full
	MsgReadIndex      MessageKind = 10 // replica: ID
	MsgReadIndexReply MessageKind = 11 // ID, Match: the confirmed index; Reject: I am no primary
	MsgPeek           MessageKind = 12 // quorum read: ID, Bucket, Key
	MsgPeekReply      MessageKind = 13 // ID, Full, Promised, Last, Commit, Value: newest of the key, Open: not known to be committed
	MsgSnapOffer      MessageKind = 14 // Prev: the base of my log, Round, Commit: you are behind it
	MsgSnapAsk        MessageKind = 15 // Part, Prev: the snapshot began here (zero: begin), After, Match: log: entries behind it
	MsgSnapReply      MessageKind = 16 // Part, Prev, After, Match echoed; Rows or Entries; Next, More; Commit: applied here; LogTimeMS; Gone: begin again
	MsgRelease        MessageKind = 17 // primary: the lease of my epoch is over
	MessageKindCount  MessageKind = 18
)

var messageNames = [MessageKindCount]string{"", "seal", "seal_ack", "nak", "pull", "pull_reply", "append", "append_ack", "confirm", "confirm_ack",
	"read_index", "read_index_reply", "peek", "peek_reply", "snap_offer", "snap_ask", "snap_reply", "release"}

func (k MessageKind) String() string {
	if k < MessageKindCount {
		return messageNames[k]
	}
	return "unknown"
}

// Part of a snapshot.
type Part uint8

// The parts, in the order in which they are pulled.
const (
	PartValues      Part = iota // values by bucket and key
	PartCompletions             // completion records
	PartLog                     // entries applied while the first two were read
)

// Row of a snapshot: a value with its key, or a completion record.
type Row struct {
	Bucket hashring.BucketID
	Key    []byte
	Value  *Value
	Done   *Completion
}

// Message is one flat struct for all kinds; which fields a kind carries stands with it.
type Message struct {
	Kind      MessageKind
	Epoch     uint64
	Prev      Position
	Last      Position
	Entries   []*Entry
	Commit    uint64
	Safe      uint64 // every member and learner has applied and synced this much
	Round     uint64 // confirmation round
	Match     uint64
	Applied   uint64 // durably
	Promised  uint64
	ID        uint64
	Bucket    hashring.BucketID
	Key       []byte
	Value     *Value
	Part      Part
	After     []byte // cursor, opaque but to the storage
	Next      []byte
	Rows      []Row
	LogTimeMS int64
	WallMS    int64 // the sender's clock; 0: it does not say
	SumAt     uint64
	Sum       uint64
	Asked     time.Duration // the sender's Now.Boot, if it asks for a lease; echoed by who grants it
	Lease     time.Duration // for so long from receipt the sender promises no later epoch
	Differs   bool          // the follower's values are not the primary's
	Full      bool          // the sender counts: it has forgotten nothing
	Reject    bool
	Open      bool
	More      bool
	Gone      bool
}

// Size is about the bytes of the message as encoded.
func (m *Message) Size() int {
	n := 64 + len(m.Key) + len(m.After) + len(m.Next) + m.Value.Size()
	for _, e := range m.Entries {
		n += e.Size()
	}
	for i := range m.Rows {
		r := &m.Rows[i]
		n += 64 + len(r.Key) + r.Value.Size()
	}
	return n
}

func (m *Message) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v e%d", m.Kind, m.Epoch)
	field := func(show bool, name string, v any) {
		if show {
			fmt.Fprintf(&b, " %s %v", name, v)
		}
	}
	k := m.Kind
	field(k == MsgAppend || k == MsgPull || k == MsgPullReply || k == MsgAppendAck && m.Reject || m.Prev != Position{}, "prev", m.Prev)
	field(k == MsgSealAck || k == MsgPullReply || k == MsgPeekReply, "last", m.Last)
	for i, e := range m.Entries {
		if i == 3 && len(m.Entries) > 4 {
			fmt.Fprintf(&b, " ... %d more", len(m.Entries)-i)
			break
		}
		fmt.Fprintf(&b, " [%v]", e)
	}
	field(k == MsgAppend || k == MsgPeekReply || k == MsgSnapReply || k == MsgSnapOffer, "commit", m.Commit)
	field(m.Safe > 0, "safe", m.Safe)
	field(k == MsgAppendAck || k == MsgReadIndexReply || m.Match > 0, "match", m.Match)
	field(m.Round > 0, "round", m.Round)
	field(m.Promised > 0, "promised", m.Promised)
	field(m.Lease > 0, "lent", m.Lease)
	field(k == MsgPeek, "key", string(m.Key))
	if k == MsgPeekReply {
		field(true, "value", drawValue(m.Value))
	}
	field(len(m.Rows) > 0, "rows", len(m.Rows))
	for _, f := range []struct {
		set  bool
		name string
	}{{m.Reject, "reject"}, {m.Open, "open"}, {m.More, "more"}, {m.Gone, "gone"}, {m.Differs, "differs"}, {m.Kind == MsgSealAck && !m.Full, "not full"}} {
		if f.set {
			b.WriteString(" " + f.name)
		}
	}
	return b.String()
}

func drawValue(v *Value) string {
	switch {
	case v == nil:
		return "absent"
	case v.Tombstone:
		return fmt.Sprintf("deleted@%v", v.Version)
	}
	return fmt.Sprintf("%s@%v", v.Data, v.Version)
}
