package sim

// Scenario is one line of the project's list of what must be tried: a set-up with a
// fault and the wrong outcome to look for.
type Scenario struct {
	ID    string `json:"id"`
	About string `json:"about"`
	// Later names what has to be there first; empty: it can be reached now.
	Later string `json:"later,omitempty"`
	// needs are the probes that together tell that a run met it.
	needs []probe
}

const (
	laterMoves    = "moves of partitions"
	laterCounters = "counters"
	inStore       = "the store's own crash tests: it is below this model's disk"
)

// Scenarios lists them all, reachable or not.
func Scenarios() []Scenario { return append([]Scenario{}, scenarios...) }

var scenarios = []Scenario{
	{ID: "F01", About: "an old primary goes on after a new epoch", needs: []probe{pOldPrimary}},
	{ID: "F02", About: "a primary that can send and not receive", needs: []probe{pOneWay, pFailover}},
	{ID: "F03", About: "a lease read at an isolated primary with a slow clock", needs: []probe{pReadLease, pOneWay}},
	{ID: "F04", About: "a bridge or a ring of majorities around two primaries", needs: []probe{pMajorities, pFailover}},
	{ID: "F05", About: "the only store that gossip calls alive lags", needs: []probe{pFalseView, pFailover}},
	{ID: "F07", About: "an old entry re-replicated, then overwritten", needs: []probe{pOldEntry}},
	{ID: "F08", About: "a primary sends before its own sync, dies, and numbers anew", needs: []probe{pPrimaryLostEntries}},
	{ID: "F09", About: "two replicas changed in one step", needs: []probe{pJoint}},
	{ID: "F10", About: "a joint configuration ended without activation", needs: []probe{pJoint, pAborted}},
	{ID: "F11", About: "a learner counted as a vote", needs: []probe{pLearners}},
	{ID: "F12", About: "removed replicas answer a stale coordinator", needs: []probe{pSettled, pReadQuorum}},
	{ID: "F13", About: "an append of an epoch that was promised away", needs: []probe{pLateAppend}},
	{ID: "F15", About: "a follower truncates to its commit hint and then leads", needs: []probe{pRestartLeads}},
	{ID: "F16", About: "two controllers name a primary", needs: []probe{pTwoJudges, pChangeStale}},
	{ID: "F17", About: "ten minutes without a Raft quorum", needs: []probe{pOutage, pStrongInOutage}},
	{ID: "F19", About: "a new primary reads before its barrier", needs: []probe{pFailover, pReadLeader}},
	{ID: "F20", About: "a read shows what failover drops", needs: []probe{pFailover, pReadStale}},
	{ID: "F22", About: "a CAS applied, its reply lost, retried", needs: []probe{pReplyLost, pDoneBefore}},
	{ID: "F23", About: "a write re-sent to the new primary after another one", needs: []probe{pStrongResent, pFailover}},
	{ID: "F24", About: "a dedupe record lost in a move", needs: []probe{pSnapshot, pDoneBefore}},
	{ID: "F25", About: "a retry after its session has expired", needs: []probe{pIDExpired}},
	{ID: "F26", About: "a timeout reported as failure", needs: []probe{pStrongUnknown}},
	{ID: "F27", About: "a primary's disk hangs, its heartbeats go on", needs: []probe{pStalledPrimary}},
	{ID: "F28", About: "a store with a failing disk is chosen again and again", needs: []probe{pStalledPrimary}},
	{ID: "F29", About: "a wiped store returns under its name", needs: []probe{pWiped, pLearners, pSettled}},
	{ID: "F30", About: "a store from yesterday's image, or two clones", needs: []probe{pRolledBack, pCloned}},
	{ID: "F31", About: "one log damaged in the middle, another store down", needs: []probe{pStrongDamage}},
	{ID: "F32", About: "a lease grantor forgets its grant", needs: []probe{pReadLease, pFailover}},
	{ID: "F33", About: "all replicas lose power right after an ack", needs: []probe{pKillAll, pCrashAfterAck}},
	{ID: "F34", About: "a sync fails once, and a retry would succeed", needs: []probe{pSyncFailed}},
	{ID: "F34b", About: "a restart replays an unsynced tail, attests it, and loses power", Later: inStore},
	{ID: "F35", About: "no space left at some byte", needs: []probe{pLowSpace, pRefusedSpace}},
	{ID: "F36", About: "power loss after the engine has changed its journal", Later: inStore},
	{ID: "F37", About: "a crash between data and applied index", needs: []probe{pTornCommit, pFailover}},
	{ID: "F38", About: "a crash inside the installation of a snapshot", needs: []probe{pSnapshot, pLostBatches}},
	{ID: "F39", About: "RF 3, 5 and 3 again during partitions", needs: []probe{pJoint, pPartition}},
	{ID: "F40", About: "a primary moved under load with a lease", needs: []probe{pHandOver, pReadLease}},
	{ID: "F41", About: "a node with a thousand primaries dies", needs: []probe{pManyPrimaries}},
	{ID: "F42", About: "an eventual write into a strong key", needs: []probe{pIntruder}},
	{ID: "F43", About: "a primary's clock an hour off, or strobing", needs: []probe{pClockBack, pFailover}},
	{ID: "F44", About: "deleted, re-created, stale If-Match", needs: []probe{pMismatch}},
	{ID: "F45", About: "a pause longer than any constant", needs: []probe{pLongPause, pFailover}},
	{ID: "F46", About: "a sloppy write on two stand-ins, read at once at an owner with a session token", needs: []probe{pAckedByTwoHints, pSessionAfterHints}},
	{ID: "F47", About: "W counted on fewer than W stores, W-1 of which die", needs: []probe{pAckedByHints, pHintHolderDies}},
	{ID: "F48", About: "a stand-in coordinates, hands off, and coordinates the same key again", needs: []probe{pFallbackMintsAgain}},
	{ID: "F49", About: "an owner loses dots that others have seen, and mints again", needs: []probe{pLostBatches}},
	{ID: "F50", About: "concurrent writes through one coordinator with stale contexts", needs: []probe{pConcurrentMint, pStaleContext}},
	{ID: "F51", About: "a purge while somebody keeps the old value", needs: []probe{pPurged, pPurgeWaits}},
	{ID: "F52", About: "a hint replayed after a purge", needs: []probe{pPurged, pGuarded}},
	{ID: "F53", About: "a tombstone parked in a hint, the key re-created, the hint arrives", needs: []probe{pTombstoneHint, pHintAfterRecreate}},
	{ID: "F54", About: "the stream of an aborted move applies after a purge", needs: []probe{pOldExchange}},
	{ID: "F55", About: "a new owner guards its own stream", needs: []probe{pFilledAfterPurge}},
	{ID: "F56", About: "owners expire at different times", needs: []probe{pExpiryPurged}},
	{ID: "F57", About: "a coordinator's clock is ahead under last-write-wins", needs: []probe{pLWWAhead}},
	{ID: "F58", About: "a clock is back after a restart", needs: []probe{pClockBackRestart}},
	{ID: "F59", About: "equal stamps under last-write-wins", needs: []probe{pLWWEqual}},
	{ID: "F61", About: "exchange during heavy writes", needs: []probe{pExchangeBusy}},
	{ID: "F62", About: "a tree drifted from its store", needs: []probe{pLeafRot, pMended}},
	{ID: "F63", About: "a dead owner rebuilt from one survivor", needs: []probe{pReplaced, pFilled}},
	{ID: "F64", About: "a coordinator with an old ring after a cut-over", Later: laterMoves},
	{ID: "F66", About: "two moves overlap", Later: laterMoves},
	{ID: "F67", About: "clean-up before the fence", Later: laterMoves},
	{ID: "F68", About: "a store leaves with undelivered hints", Later: laterMoves},
	{ID: "F69", About: "an increment times out and is retried elsewhere", Later: laterCounters},
	{ID: "F70", About: "a counter's actor reused after the loss of a disk", Later: laterCounters},
	{ID: "F71", About: "a loop of writes with a stale context", needs: []probe{pSiblingLimit}},
	{ID: "F72", About: "one store is heard twice", needs: []probe{pMessageTwice, pFalseView}},
	{ID: "F74", About: "a quorum read ranks by version while a peer dropped the tombstone", needs: []probe{pReadMidPurge}},
	{ID: "F75", About: "an idle session collected, then re-created by a late retry", needs: []probe{pIDExpired}},
	{ID: "F77", About: "many hints at once after a long outage", needs: []probe{pManyHints}},
	{ID: "F78", About: "a crash between the target's ack of a hint and its deletion", needs: []probe{pHandOffCut}},
}

// reached lists the scenarios that the run met.
func (p *probes) reached() []string {
	out := []string{}
next:
	for i := range scenarios {
		s := &scenarios[i]
		if len(s.needs) == 0 {
			continue
		}
		for _, need := range s.needs {
			if p.n[need] == 0 {
				continue next
			}
		}
		out = append(out, s.ID)
	}
	return out
}
