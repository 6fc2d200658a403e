// Package antientropy is what makes replicas alike again, as pure machines: they are
// told what happened and say what to load, what to send, what to merge and when to
// wake. They know neither network, disk nor clock; time is an argument.
//
//	writes ──Put──▶ Tree (one per partition and n, 4,096 leaves, kept in memory)
//	                 │  ▲ Scan: rebuilt after a start from the leaf rows, and checked
//	                 │  │       against them later, while writes go on
//	                 ▼
//	Schedule ─pair─▶ Exchange ◀──Message──▶ Serving     one pair of replicas, E12
//	   ▲                │ Apply: rows to merge, through Strip (E6)
//	   │ Debt           ▼
//	HintBook ─dirty─▶ Result ──complete──▶ Round        PROTOCOLS 2.1
//	  (E3)                                   │ cuts, passes, Commit through Raft
//	                                         ▼
//	                                  Purgeable, Expire (E5, E8)
//
//	Pacer: all of it asks here before it reads or ships
//
// An exchange between the replicas A (leads) and B, of one partition:
//
//	A                                        B
//	│ open: root ──────────────────────────▶ │ epoch, generation, tree known?
//	│ ◀──────────── root, 16 children         │ equal: done, nothing was read
//	│ digests of the nodes that differ ─────▶ │ level by level down to the leaves
//	│ compare: my rows of those leaves ─────▶ │ loads its rows of them
//	│ ◀──── the keys that differ              │
//	·   the second look's wait: writes in flight land meanwhile
//	│ look: the clocks of those keys ───────▶ │ still different? who lacks what?
//	│ ◀──── objects that A lacks, and wants   │
//	│ push: objects that B lacks ───────────▶ │ merges, syncs, then answers
//
// A leaf that is empty on one side goes without compare and look: after the wait its
// objects are shipped as they are. So a replica that has lost everything costs little
// more than what it lacks. One request is on its way at a time: what is in flight is
// bounded by one slice.
//
// How a core drives it. One shard owns one Schedule, one HintBook and one Pacer, and a
// Tree for each (partition, n) of which it is a full owner.
//
//   - Every staged record is Tree.Put with the number of its batch; every ring, view and
//     dirty mark goes to the Schedule. After a start Tree.Next and Absorb read the leaf
//     rows, slice by slice; Check does it again now and then.
//   - Schedule.Next names a pair, Start begins, and each Do is carried out: Load through
//     the engine, then Loaded; Apply through Strip and the core's merge, then Applied
//     once the batch is durable; Send, then Receive; Wake in the timer heap. Ticket and
//     Charge of the Pacer stand before each Load and Send. Done goes to Schedule.End.
//   - A peer's open goes through Schedule.Admit, other requests through Serves, MsgEnd to
//     Served; what passes goes to Serve, with the View of now.
//   - A hint is Admitted, then Kept or Missed; Sweep asks for a walk when there is too
//     much. The target of a mark asks its Schedule for tickets (Want) with all other
//     owners and, when they are Met, has the holder Clear the mark.
//   - The lead of a Round answers its questions like any other store, and turns each
//     Exchange into tickets. When the purge commits, an owner raises its clock and, key
//     by key, drops what is Purgeable after Expire.
package antientropy
