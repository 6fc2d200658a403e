package antientropy

import (
	"fmt"
	"strings"
)

// Kind of a message between the two ends of an exchange. A request is even, its reply
// the next odd number.
type Kind uint8

// Requests of the replica that leads, and the replies. Beside each what it carries.
const (
	MsgOpen         Kind = 0  // Digests: the root
	MsgOpenReply    Kind = 1  // Digests: the root and, if it differs, its children; or Reason
	MsgDigests      Kind = 2  // Level, Nodes
	MsgDigestsReply Kind = 3  // Digests, in the order of Nodes
	MsgCompare      Kind = 4  // Nodes: leaves; After, Upto; Rows: mine there, or Theirs
	MsgCompareReply Kind = 5  // Rows: version there, 0 absent, of the keys that differ, or all if Theirs; Upto
	MsgLook         Kind = 6  // Rows: Version the other had, Object: my clock (no values); Moving: places of rows that changed here
	MsgLookReply    Kind = 7  // Rows with objects; Want, Moving: places in the request; Limit: rows looked at
	MsgFetch        Kind = 8  // Nodes: leaves empty here; Digests: what they were; After
	MsgFetchReply   Kind = 9  // Rows with objects; Upto; Moving: places in Nodes of leaves left out
	MsgPush         Kind = 10 // Rows with objects
	MsgPushReply    Kind = 11 // they are merged and synced
	MsgEnd          Kind = 12 // the exchange is over; has no reply, may be lost
	KindCount       Kind = 13
)

var kindNames = [KindCount]string{"open", "open_reply", "digests", "digests_reply", "compare", "compare_reply",
	"look", "look_reply", "fetch", "fetch_reply", "push", "push_reply", "end"}

func (k Kind) String() string {
	if k < KindCount {
		return kindNames[k]
	}
	return "unknown"
}

// IsReply tells that the message goes to the leading end.
func (k Kind) IsReply() bool { return k%2 == 1 }

// Message is one flat struct for all kinds; which fields a kind carries stands with it.
type Message struct {
	Kind       Kind
	Exchange   uint64 // drawn by the leading core, echoed
	Step       uint32 // counts the requests of an exchange from 1, echoed: a late reply is known by it
	Epoch      uint64
	Generation uint64 // purge generation
	Thorough   bool   // what has moved since the first look is joined all the same
	Reason     Reason // replies; ReasonNone: done

	Level   uint8
	Nodes   []uint16
	Digests []Digest
	After   Pos
	Upto    Pos
	Theirs  bool
	Rows    []Row
	Want    []uint16
	Moving  []uint16
	Limit   uint16
}

// Size is about the bytes of the message as encoded: 40 for its head and the envelope's,
// 10 for a digest or 1 for an empty one, 1 for a node since most are neighbours, a
// row's key and what of it is set.
func (m *Message) Size() uint64 {
	n := 40 + len(m.Nodes) + len(m.Digests) + len(m.After.Key) + len(m.Upto.Key) + 2*len(m.Want) + 2*len(m.Moving)
	for i := range m.Digests {
		if m.Digests[i].Keys != 0 {
			n += 9
		}
	}
	for i := range m.Rows {
		r := &m.Rows[i]
		n += 2 + len(r.Key) // bucket and length, a byte each as a rule
		if r.Version != 0 {
			n += 8
		}
		if r.Object != nil && m.Kind == MsgLook {
			n += clockSize(r.Object)
		} else if r.Object != nil {
			n += r.Object.Size()
		}
	}
	return uint64(n)
}

func (m *Message) String() string {
	var b strings.Builder
	b.WriteString(m.Kind.String())
	if m.Reason != ReasonNone {
		fmt.Fprintf(&b, ": %v", m.Reason)
	}
	part := func(n int, what string) {
		if n > 0 {
			fmt.Fprintf(&b, ", %d %s", n, what)
		}
	}
	part(len(m.Nodes), "nodes")
	part(len(m.Digests), "digests")
	part(len(m.Rows), "rows")
	part(len(m.Want), "wanted")
	part(len(m.Moving), "moving")
	return b.String()
}

// Reason is why an exchange ended early; closed, so that it can be a metric label.
type Reason uint8

const (
	ReasonNone       Reason = iota
	ReasonEpoch             // the ends are in different epochs of the partition
	ReasonGeneration        // or purge generations (E6)
	ReasonRebuilding        // a tree is not known yet
	ReasonNotFull           // the other end is no full owner
	ReasonBusy              // the other end has an exchange of this partition
	ReasonYielded           // both ends led one; the lesser sid goes on
	ReasonTimeout           // no answer, after some re-sends
	ReasonRead              // rows could not be read
	ReasonMerge             // objects could not be merged: no room, overload
	ReasonGarbled           // the other end said what it cannot mean
	ReasonStopped           // the core ended it
	ReasonCount             // no reason: how many there are
)

var reasonNames = [ReasonCount]string{"none", "epoch", "generation", "rebuilding", "not_full", "busy", "yielded",
	"timeout", "read", "merge", "garbled", "stopped"}

func (r Reason) String() string {
	if r < ReasonCount {
		return reasonNames[r]
	}
	return "unknown"
}

// LoadKind says what an exchange wants read.
type LoadKind uint8

const (
	LoadLeafRows LoadKind = iota + 1 // leaf rows of Leaves behind After, up to Upto, in order
	LoadObjects                      // the newest objects of Keys, staged ones too, in their order; absent: no object
)

// Load is a read that may be long. It comes back as rows, no more than MaxRows of
// them and about MaxBytes, but at least one, and whether there are more. Leaf rows
// come with bucket, key, hash and version, of this tree's n only.
type Load struct {
	Kind     LoadKind
	Leaves   []uint16
	After    Pos
	Upto     Pos
	Keys     []Row // bucket, key and hash
	MaxRows  int
	MaxBytes int
}

// Loaded is its result. Last is the place of the last leaf row read, of whatever n.
type Loaded struct {
	Rows []Row
	Last Pos
	More bool
	Err  error
}

// Do is what a step wants done. At most one of Load, Apply and Send is set: an end
// does one thing at a time, and its result is the next step.
type Do struct {
	Load *Load
	// Apply are rows to merge into this replica through Strip (E6); Applied is called
	// when they are durable.
	Apply []Row
	Send  *Message
	// Wake is when to call Wake if nothing else happens, in the time of now; 0: never.
	Wake Duration
	Done *Result // the exchange is over; Send, if set, tells the other end
}
