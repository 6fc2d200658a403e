// Package strong is strong mode (PROTOCOLS.md, 3) as pure machines: a Replica for each
// store and partition, and a QuorumRead for each read that asks no primary. They are
// told what happened and say what to store, what to send, what to answer and what to
// propose. They know neither network, disk nor clock; time is an argument.
//
// It is Raft with the election taken out. The ring state names the one primary of an
// epoch; the epoch is the term, a promise is a vote. The log holds effects: the primary
// decides conditions and sums, everybody else only carries out.
//
// The life of an epoch e, with the replicas A (primary), B and C:
//
//	ring: T1 ──▶ Configure(e, primary A)
//	A  promise e, sync ─┐
//	   Seal ───────────▶│ B, C: e < promised? NAK : promise e, sync
//	   ◀── SealAck: full?, last (epoch, index)         sealing
//	A  majority of full attestations in EVERY set, its own among them
//	   best log elsewhere ── Pull ──▶ ◀── entries      pulling, sync, seal itself again
//	   append the barrier                              leading
//	   Append ──▶ ◀── AppendAck (after the sync)
//	   barrier committed ── Activate ──▶ ring          active: reads are answered
//	   │
//	   Submit ─ condition against the newest value, in flight or not ─▶ entry
//	   own sync ∥ Append; a majority of every set has synced it ─▶ commit ─▶ apply ─▶ Reply
//	   Read ─ joins the next round ─▶ Confirm ─▶ majority of every set ─▶ Reply
//	   │
//	   NAK, or a newer configuration: the role is gone, what waits hears "unknown"
//
// How a shard drives a Replica:
//
//	Begin(now, seq)                  seq: the batch that this step writes to
//	Receive, Submit, Read, ...       inputs, as many as have gathered
//	Out = Finish()                   conclusions
//
// Writes go through Storage.Stage into the step's batch, so that what follows in the
// step sees them. A Send leaves when batch Gate is durable; Replies and Loads at once:
// an answer is only given for what a majority has synced. Synced(seq) is an input.
//
//	log      base ─ cut off ┤ applied ├ committed ├ staged
//	                        │         │           └ newest, ids: what conditions, retries
//	                        │         │             and quorum reads look at
//	                        │         └ Hard.Commit
//	                        └ Hard.Applied: values of Hard.Generation
//
// A store that lacks more than the log still has pulls a snapshot into another
// generation; see snapshot.go. A restarted primary never continues its epoch: it asks
// for another one (AskOut). Leases: see lease.go.
package strong
