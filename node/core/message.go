package core

import (
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum"
	"github.com/quoratedb/quorate/quorum/strong"
	"github.com/quoratedb/quorate/quorum/version"
)

// Kind of a peer message. The numbers are the wire's: never reuse one.
type Kind uint8

const (
	MsgWrite      Kind = 1  // merge Object into the record
	MsgHint       Kind = 2  // keep Object for Target
	MsgWriteAck   Kind = 3  // answers MsgWrite and MsgHint: synced, or Reason
	MsgRead       Kind = 4  // send the record (or the hints, when Fallback)
	MsgReadReply  Kind = 5  // Object, nil when absent; or Reason
	MsgForward    Kind = 6  // Request for an owner to coordinate
	MsgForwarded  Kind = 7  // Reply to it; or Reason: not taken, nothing happened
	MsgScan       Kind = 8  // one slice of a partition's live keys
	MsgScanReply  Kind = 9  // Rows, More; or Reason
	MsgHintNotice Kind = 10 // "I hold hints of this partition for you"
	MsgHintPull   Kind = 11 // send me the hints after Cursor
	MsgHintPage   Kind = 12 // Rows with Gen, More
	MsgHintDone   Kind = 13 // rows synced at the target: drop these generations
	MsgExchange   Kind = 14 // one message of an exchange between two replicas: Exchange, N
	MsgRoundAsk   Kind = 15 // a purge round's lead asks for a report or a confirmation: Round
	MsgRoundWord  Kind = 16 // and gets it: Round
	MsgMark       Kind = 17 // "something of this partition was not kept for you", generation Gen (E3)
	MsgMarkMet    Kind = 18 // the target has had its full exchanges since: clear the mark of generation Gen
	MsgStrong     Kind = 19 // between replicas of a strong partition: Strong
	KindCount     Kind = 20
)

var kindNames = [KindCount]string{"", "write", "hint", "write_ack", "read", "read_reply", "forward", "forwarded",
	"scan", "scan_reply", "hint_notice", "hint_pull", "hint_page", "hint_done", "exchange", "round_ask", "round_word", "mark", "mark_met", "strong"}

func (k Kind) String() string {
	if k < KindCount {
		return kindNames[k]
	}
	return "unknown"
}

// IsReply tells that the message answers ID of the receiver, so it is routed to
// the shard that asked; every other message is routed by its partition.
func (k Kind) IsReply() bool {
	return k == MsgWriteAck || k == MsgReadReply || k == MsgForwarded || k == MsgScanReply || k == MsgHintPage
}

// Message is what shards of different nodes say to each other. One flat struct
// for all kinds: a message is built, encoded and dropped without a heap object of
// its own. Which fields a kind carries stands beside each field; the codec encodes
// just those.
type Message struct {
	Kind Kind
	From hashring.SID // not encoded: the connection's hello says it
	To   hashring.SID // not encoded: the connection says it

	// In every message.
	RingVersion uint64 // of the sender
	Epoch       uint64 // of the partition, as the sender planned
	Partition   uint32
	ID          uint64 // the asker's: shard in the top byte; echoed in the reply

	Bucket hashring.BucketID // write, hint, read, scan, pull rows
	Key    []byte            // write, hint, read; scan: inclusive start
	Hash   uint64            // murmur3 of bucket name and key: write, hint, read
	Object *version.Object   // write, hint, read reply
	Target hashring.SID      // hint: the owner it stands in for; read with Fallback: unused
	Reason quorum.Reason     // replies; ReasonNone: done
	// Fallback in a read asks for the hints a stand-in holds of the key; in a reply
	// it says that Object came from them.
	Fallback bool
	// Timeout is what is left of the client's deadline: forward, write, read, scan. In a
	// write it marks a fresh one (E9): a last-write-wins bucket's coordinator sets it,
	// and whoever repairs does not.
	Timeout time.Duration

	Request *Request // forward
	Reply   *Reply   // forwarded
	// Echo is the owner's clock: in a forwarded as it is now, in a forward as the
	// forwarder last heard it.
	Echo Echo

	Prefix []byte // scan
	Cursor []byte // scan, hint pull: exclusive start, empty: from the beginning; scan reply: last key looked at
	Limit  uint32 // scan, hint pull: rows at most
	Values bool   // scan
	Rows   []Row  // scan reply, hint page, hint done (without objects)
	More   bool   // scan reply, hint page; hint notice: unused

	Exchange *antientropy.Message // exchange
	N        uint8                // exchange: of the tree, the n of the buckets it is for
	Round    *RoundWords          // round ask, round word
	Gen      uint64               // mark, mark met
	// Strong are messages of one partition's log, in order (PROTOCOLS.md, 3). Epoch in the
	// head is of no meaning with them: each has its own.
	Strong []*strong.Message
}

// RoundWords are a purge round's question or answer. Exactly one of Report and
// Confirmation is set; in a question only its Ask is.
type RoundWords struct {
	Report       *antientropy.Report
	Confirmation *antientropy.Confirmation
	Survey       bool // with Confirmation: fill in Seen
}

// Row is one key of a slice.
type Row struct {
	Bucket hashring.BucketID
	Key    []byte
	Object *version.Object
	Target hashring.SID // hints
	Gen    uint64       // hints: changes with every rewrite of the hint
	Cursor []byte       // hints: where the next pull goes on; opaque

	Version uint64 // leaf rows: of the record, as its Object.Hash() was when it was written
	Damaged bool   // objects, hints: there is a record and it cannot be trusted (D4)

	Strong *strong.Value // rows of strong buckets: instead of Object
}
