package core

import (
	"time"

	"github.com/quoratedb/quorate/antientropy"
	"github.com/quoratedb/quorate/hashring"
)

// RepairStats counts repair since the process started, and says what is owed now.
type RepairStats struct {
	Led, Served     uint64 // exchanges begun here; requests of exchanges answered
	Results         [antientropy.ReasonCount]uint64
	Equal, Complete uint64 // of those that went to their end
	Differed        uint64 // keys found to differ
	Sent, Received  uint64 // objects, of exchanges led here
	Merged          uint64 // rows merged here, led or served
	ReadBytes       uint64 // leaf rows and records read for exchanges
	OutBytes        uint64 // their messages
	InBytes         uint64

	TreeChecks  uint64 // trees held against their leaf rows
	Drift       uint64 // leaves that were found to differ from them
	Mismatched  uint64 // leaf rows that stood where they do not belong
	ReadErrors  uint64 // slices that could not be read
	Scrubs      uint64 // partitions scrubbed
	Scrubbed    uint64 // records and leaf rows of them
	Damaged     uint64 // records that failed their checksum, or are not what their leaf row says
	Mended      uint64 // of them, from other owners
	MendedShort uint64 // of them, from fewer than a read quorum, since other owners' records were damaged too
	MendsPutOff uint64 // for want of owners that answer
	Unmendable  uint64 // tries to mend what no other store has
	Recounted   uint64 // partitions whose counters the scrub has put right

	// Now.
	Debts        []antientropy.Debt
	DebtKeys     uint64        // about, known to differ and not repaired
	Behind       time.Duration // the most that a partition is
	Partitions   int           // that are compared with others
	Behindhand   int           // of them with debt, or not compared since the start
	Dirty        int           // pairs for which a thorough exchange is wanted
	Running      int           // exchanges led
	UnknownTrees int           // still being read
	Quarantined  int           // records known to be damaged
	Rate         int64         // bytes a second that background work may use
	P99          time.Duration // of the foreground, in the last second
	Granted      [4]int64      // bytes, by antientropy.Class
}

// count takes the result of an exchange that was led here.
func (s *RepairStats) count(r *antientropy.Result) {
	s.Results[r.Reason]++
	if r.Equal {
		s.Equal++
	}
	if r.Complete {
		s.Complete++
	}
	s.Differed += r.Differed
	s.Sent += r.Sent
	s.Received += r.Received
	s.ReadBytes += r.Read
}

// Add adds another shard's.
func (s *RepairStats) Add(o *RepairStats) {
	for i, n := range o.Results {
		s.Results[i] += n
	}
	for i, n := range o.Granted {
		s.Granted[i] += n
	}
	for to, n := range map[*uint64]uint64{ // order-free: sums
		&s.Led: o.Led, &s.Served: o.Served, &s.Equal: o.Equal, &s.Complete: o.Complete, &s.Differed: o.Differed, &s.Sent: o.Sent, &s.Received: o.Received,
		&s.Merged: o.Merged, &s.ReadBytes: o.ReadBytes, &s.OutBytes: o.OutBytes, &s.InBytes: o.InBytes, &s.TreeChecks: o.TreeChecks, &s.Drift: o.Drift,
		&s.Mismatched: o.Mismatched, &s.ReadErrors: o.ReadErrors, &s.Scrubs: o.Scrubs, &s.Scrubbed: o.Scrubbed, &s.Damaged: o.Damaged, &s.Mended: o.Mended,
		&s.MendsPutOff: o.MendsPutOff, &s.MendedShort: o.MendedShort, &s.Unmendable: o.Unmendable, &s.Recounted: o.Recounted, &s.DebtKeys: o.DebtKeys,
	} {
		*to += n
	}
	s.Debts = append(s.Debts, o.Debts...)
	s.Behind, s.P99 = max(s.Behind, o.Behind), max(s.P99, o.P99)
	s.Partitions += o.Partitions
	s.Behindhand += o.Behindhand
	s.Dirty += o.Dirty
	s.Running += o.Running
	s.UnknownTrees += o.UnknownTrees
	s.Quarantined += o.Quarantined
	s.Rate += o.Rate
}

// repairStats are the counts and what is owed now.
func (c *Core) repairStats() RepairStats {
	r := &c.repair
	s := r.stats
	s.Debts = r.sched.Debts(c.now.Mono)
	for _, d := range s.Debts {
		s.Partitions++
		s.DebtKeys += d.Keys
		s.Behind = max(s.Behind, d.Behind)
		if d.Keys > 0 || d.Never {
			s.Behindhand++
		}
		if d.Dirty {
			s.Dirty++
		}
	}
	if r.on {
		for _, p := range c.ownParts() {
			for i := range p.trees {
				if !p.trees[i].tree.Known() {
					s.UnknownTrees++
				}
			}
		}
	}
	s.Running, s.Quarantined = len(r.leads), len(r.mend.order)
	s.Rate, s.P99, s.Granted = r.pace.pacer.Rate(), r.pace.p99, r.pace.pacer.Granted
	return s
}

// RepairStatus is what a shard's repair is at, for people.
type RepairStatus struct {
	Rate int64 // bytes a second that background work may use now
	Rows []RepairRow
}

// RepairState is what a pair is at; closed.
type RepairState string

// The states of a pair.
const (
	RepairEqual       RepairState = "equal"       // the last exchange was complete
	RepairWaiting     RepairState = "waiting"     // not compared since the start, or asked for
	RepairRunning     RepairState = "running"     // Doing says what
	RepairDiffers     RepairState = "differs"     // the last exchange has left something
	RepairUnreachable RepairState = "unreachable" // the peer
	RepairReading     RepairState = "reading"     // this store's tree is not known yet
)

// RepairRow is one partition's tree of one n, shared with one peer, as this store
// sees it. Ordered by partition, n, peer.
type RepairRow struct {
	Partition uint32
	N         int // of the buckets
	Peer      hashring.SID
	Building  bool // the peer is being filled from here
	State     RepairState
	Doing     string // while it is running
	Keys      uint64 // about, known to differ and not repaired
	Behind    time.Duration
	Never     bool // no complete exchange since the start; Behind counts from there
	Dirty     bool // a thorough exchange is wanted: a dirty mark, a purge round, a fill
	Failures  int  // exchanges cut off, one after the other
	// Of the running exchange: objects shipped so far.
	Sent, Received uint64
}

// RepairStatus shows it. Not for the hot path.
func (c *Core) RepairStatus() RepairStatus {
	r := &c.repair
	out := RepairStatus{Rate: r.pace.pacer.Rate()}
	if !r.on {
		return out
	}
	for _, d := range r.sched.Pairs(c.now.Mono) {
		row := RepairRow{Partition: d.Partition, N: d.N, Peer: d.Peer, Keys: d.Keys, Behind: d.Behind, Never: d.Never, Dirty: d.Dirty, Failures: d.Failures}
		role, _ := c.ring.Role(d.Partition, d.Peer)
		row.Building = role == hashring.Building
		tree := c.part(d.Partition).treeOf(d.N)
		switch {
		case d.Running:
			row.State = RepairRunning
			c.showLead(&row, d.Pair)
		case d.Unreachable:
			row.State = RepairUnreachable
		case tree == nil || !tree.Known():
			row.State = RepairReading
		case d.Never || d.Dirty:
			row.State = RepairWaiting
		case d.Keys > 0 || d.Failures > 0:
			row.State = RepairDiffers
		default:
			row.State = RepairEqual
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

func (c *Core) showLead(row *RepairRow, pair antientropy.Pair) {
	for _, l := range c.repair.leads {
		if l.pair == pair {
			result := l.x.Result()
			row.Doing, row.Sent, row.Received = l.x.Doing(), result.Sent, result.Received
		}
	}
}
