package hashring

// StrongKind is one kind of change of a partition's strong configuration
// (PROTOCOLS.md, 3.1).
type StrongKind string

// The kinds, named as they stand in the Raft log. All but activate and learners raise
// the partition's epoch and leave it not activated.
const (
	StrongPrimary  StrongKind = "primary"  // T1: Primary, a member of the sets, leads the next epoch
	StrongJoint    StrongKind = "joint"    // T2: [V] -> [V, Stores]; without Primary the present one goes on
	StrongSettle   StrongKind = "settle"   // T3: [V, V'] -> [V'], if the joint epoch is activated; Primary, or the present one, is in V'
	StrongAbort    StrongKind = "abort"    // T4: [V, V'] -> [V]; Primary, or the present one, is in V
	StrongRecover  StrongKind = "recover"  // T5, by an operator only: sets [Stores], one or two, Primary in them, next incarnation, possible loss
	StrongActivate StrongKind = "activate" // the primary of the epoch has committed its barrier
	StrongLearners StrongKind = "learners" // the learners are Stores
)

// StrongChange is a compare-and-swap on one partition's strong configuration.
type StrongChange struct {
	Partition uint32     `json:"partition"`
	Epoch     uint64     `json:"epoch"` // Strong.Epoch as the proposer knows it
	Kind      StrongKind `json:"kind"`
	Primary   SID        `json:"primary,omitzero"`
	Stores    []SID      `json:"stores,omitempty"`
}

// StrongChanges is a batch, ascending by partition, each partition at most once. Those
// that the state refuses, mostly because their epoch has passed, are left out; if all
// are, the command is refused as the first one was.
type StrongChanges struct {
	Changes []StrongChange `json:"changes"` // 1..MaxPlaces
}
