package plant

// Bugs of the shard that drives strong partitions.
const (
	StrongResends     Bug = "strong-resends"      // 3.3, 1: a write without an id is sent again when it may have been sequenced
	StrongCopyIsNo    Bug = "strong-copy-is-no"   // S14: "no" of one copy is reported though another one may have been carried out
	StrongTakesWrites Bug = "strong-takes-writes" // S15: eventual messages about strong buckets are taken
	StrongGateIgnored Bug = "strong-gate-ignored" // D1: what waits for a batch leaves at once
	StrongSyncedAhead Bug = "strong-synced-ahead" // D1: what is staged counts as synced with the batch before
	StrongUnconfirmed Bug = "strong-unconfirmed"  // D6: a start that nobody confirmed promises and attests
	StrongOverlayGone Bug = "strong-overlay-gone" // D1: what is staged is not looked at
	StrongHeldBehind  Bug = "strong-held-behind"  // S12: how much is applied is durable before what is
	StrongIDDropped   Bug = "strong-id-dropped"   // S12: a forwarded write goes without its request id
	StrongReadsHere   Bug = "strong-reads-here"   // S10: a member answers the reads that it is to forward to the primary
	// D4, S6: what cannot be read of a partition at a start is taken for nothing.
	StrongDamageIsBlank Bug = "strong-damage-is-blank"
)

// StrongCore lists them.
func StrongCore() []Bug {
	return []Bug{StrongResends, StrongCopyIsNo, StrongTakesWrites, StrongGateIgnored, StrongSyncedAhead, StrongUnconfirmed, StrongOverlayGone,
		StrongHeldBehind, StrongIDDropped, StrongReadsHere, StrongDamageIsBlank}
}
