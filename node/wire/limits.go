// Package wire is the binary form of everything that leaves a shard's memory: the
// records of the store and the messages between nodes. It is pure, hand-written
// and canonical: for every accepted input, encoding what was decoded gives the
// same bytes again.
//
// Shape. Numbers that are usually small are uvarints in their shortest form; ids,
// hashes and stamps have fixed width, big endian; byte strings carry their length
// in front. An empty byte string and a nil one are the same. What is optional
// stands behind a bit of a flags byte, and a bit that is set for an empty field is
// refused, as is every bit without a meaning.
//
// Decoded values alias the input: whoever decodes gives the buffer away.
package wire

import (
	"errors"
	"fmt"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

const (
	// ProtocolMin and ProtocolMax are the message versions this binary speaks. The
	// hello exchanges them.
	ProtocolMin, ProtocolMax uint16 = 2, 6
	// protocolConvergence brought exchanges, purge rounds and marks. The rest is as it
	// was, so that a cluster can be upgraded node by node.
	protocolConvergence uint16 = 3
	// protocolStrong brought the messages of strong partitions, and what requests and
	// replies have of strong buckets.
	protocolStrong uint16 = 4
	// 5 brought no messages: the ring state may tell of losses (hashring.FeatureLoss).
	// 6 brought leases: a few bits that are only set at hashring.FeatureLease.
	// RecordFormat is the first byte of every stored record.
	RecordFormat = 1
)

// Bounds of what a decoder accepts. Where the contract has a limit for a client's
// write, the bound here is wider: replicas that took writes on both sides of a
// split may join to more than one write may make, and E15 forbids to drop any.
const (
	// MaxSiblings of one object: sixteen sides of a split, each at its cap.
	MaxSiblings = 16 * core.MaxSiblings
	// MaxActors of one object's context: process starts a key was written through.
	MaxActors = 1 << 16
	// MaxEncodedObject in bytes: four sides of a split, each at its cap.
	MaxEncodedObject = 4 * core.MaxObject
	// MaxMessage in bytes: one object at its bound with all that stands around it.
	MaxMessage = MaxEncodedObject + 1<<20
	// MaxRows of one slice: a page of the longest listing and a little more.
	MaxRows = core.MaxListLimit + 24
	// MaxCursor in bytes: a store's key, which holds a client's key.
	MaxCursor = core.MaxKey + 64
	// MaxBucketName in bytes: far above what the API lets a bucket be called.
	MaxBucketName = 256
	// MaxDetail in bytes of a reply's sentence; longer ones are cut when encoded.
	MaxDetail = 4096
	// MaxStores named in one reply: owners and stand-ins that were asked.
	MaxStores = 1024
)

var (
	// ErrMalformed is any message or object that this codec did not make.
	ErrMalformed = errors.New("malformed encoding")
	// ErrCorrupt is a record whose checksum or shape is wrong; it is core.ErrCorrupt.
	ErrCorrupt = core.ErrCorrupt
)

// VersionError is a message or record of a version this binary does not know.
type VersionError struct {
	What     string // "message" or "record"
	Got      uint16
	Min, Max uint16
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s version %d, known are %d to %d", e.What, e.Got, e.Min, e.Max)
}

// SizeHint is about the encoded size of m in bytes, never less than its payload.
// It costs no encoding, so that a sender can choose the road before.
func SizeHint(m *core.Message) int {
	n := 64 + len(m.Key) + len(m.Prefix) + len(m.Cursor) + m.Object.Size()
	for i := range m.Rows {
		r := &m.Rows[i]
		n += 48 + len(r.Key) + len(r.Cursor) + r.Object.Size() + r.Strong.Size()
	}
	if x := m.Exchange; x != nil {
		n += int(x.Size())
	}
	if w := m.Round; w != nil {
		n += roundSize(w)
	}
	for _, s := range m.Strong {
		n += s.Size()
	}
	if q := m.Request; q != nil {
		n += 128 + len(q.Bucket) + len(q.Key) + len(q.Value) + len(q.ContentType) + vectorSize(q.Context.Seen) + vectorSize(q.After.Seen) +
			len(q.List.Prefix) + len(q.List.Start) + len(q.List.After) + 30*len(q.If.Or)
	}
	if r := m.Reply; r != nil {
		n += 128 + len(r.Detail) + r.Object.Size() + vectorSize(r.Context.Seen) + 17*len(r.Failed) + 16*len(r.Owners)
		for i := range r.Inspect {
			n += 56 + vectorSize(version.Vector(r.Inspect[i].Dots))
		}
		if r.Strong != nil {
			n += 64 + r.Strong.Value.Size()
		}
		if r.List != nil {
			n += 16 + len(r.List.Next)
			for i := range r.List.Rows {
				n += 16 + len(r.List.Rows[i].Key) + r.List.Rows[i].Object.Size() + r.List.Rows[i].Strong.Size()
			}
		}
	}
	return n
}

func roundSize(w *core.RoundWords) int {
	if w.Report != nil {
		return 64 + vectorSize(w.Report.Cut)
	}
	return 64 + vectorSize(w.Confirmation.Seen)
}

func vectorSize(v version.Vector) int { return 8 + 18*len(v) }
