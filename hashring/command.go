package hashring

import "time"

// Bounds of the ring state: every node holds all of it in memory and every Raft
// snapshot carries it, so it must stay small.
const (
	// MaxPartitions: the fallback table has partitions * stores entries.
	MaxPartitions = 4096
	// MaxStores counts retired stores too: their boot counts are kept for ever, so
	// that a disk that comes back from the past is refused.
	MaxStores = 1024
	// MaxBuckets: a bucket is a mode and its defaults, not a tenant's folder.
	MaxBuckets = 1024
	// MaxReplicas: more copies cost a round trip each and save nothing.
	MaxReplicas = 15
	// MaxName bounds bucket names (API.md) and, for the gossip metadata's limit,
	// node and zone names, in bytes.
	MaxName = 63
	// MaxPlaces of one batch: so many fit MaxCommandBytes with the longest numbers.
	MaxPlaces = 512
	// MaxClockBytes bounds one partition's purge clock as it is encoded: some 1,400
	// actors. MaxPurgeBytes bounds all of them together, an equal share for each
	// partition, because every node holds them and every push of the state carries
	// them. A round beyond the bound is refused: tombstones wait, nothing is lost.
	MaxClockBytes = 16 << 10
	MaxPurgeBytes = 3 << 20
	// MaxAddress: a DNS name has at most 253 bytes, a port six more.
	MaxAddress = 260
	// DefaultBucket exists from the start.
	DefaultBucket = "default"
)

// CommandKind says which member of a Command is set.
type CommandKind string

// The kinds, named as they stand in the Raft log.
const (
	KindInit          CommandKind = "init"
	KindRegister      CommandKind = "register"
	KindFirstRing     CommandKind = "first_ring"
	KindCreateBucket  CommandKind = "create_bucket"
	KindUpdateBucket  CommandKind = "update_bucket"
	KindDeleteBucket  CommandKind = "delete_bucket"
	KindSetStoreState CommandKind = "set_store_state"
	KindSetFeature    CommandKind = "set_feature"

	// From FeatureBuilding on.
	KindReplaceStore CommandKind = "replace_store"
	KindGrow         CommandKind = "grow"
	KindFilled       CommandKind = "filled"
	KindPurge        CommandKind = "purge"

	// From FeatureStrong on.
	KindStrong CommandKind = "strong"

	// From FeatureLoss on.
	KindForce CommandKind = "force"
)

// FeatureBuilding is the feature level from which there are building replicas and
// purge clocks. Below it the commands for them are refused and the older ones mean
// what they meant, so that every node reads an old log alike. A binary may announce
// it (Store.FeatureMax) only if its data path counts full owners and no others.
const FeatureBuilding uint16 = 3

// FeatureStrong is the feature level from which buckets may be strong and partitions
// have a Strong part. Below it both are refused.
const FeatureStrong uint16 = 4

// FeatureLoss is the feature level from which an operator may give up the last full owner
// of a partition, and Partition.Loss says so for ever.
const FeatureLoss uint16 = 5

// FeatureLease is the feature level from which primaries may ask for leases, and reads may
// go by them. Below it nobody does.
const FeatureLease uint16 = 6

// FeatureNonce is the feature level from which registrations carry the nonce of their
// start (Store.Nonce, Register.ExpectsNonce). Below it a nonce is refused, because
// older binaries cannot read one and every node must come to the same state. It is the
// next level after the ones that exist, so it comes with FeatureBuilding.
const FeatureNonce = FeatureBuilding

// Command is one change of the ring state. Exactly the member that Kind names is set.
type Command struct {
	Kind          CommandKind    `json:"kind"`
	Init          *Init          `json:"init,omitempty"`
	Register      *Register      `json:"register,omitempty"`
	FirstRing     *FirstRing     `json:"first_ring,omitempty"`
	CreateBucket  *Bucket        `json:"create_bucket,omitempty"` // ID zero; N zero: all replicas; empty Mode and Conflict: eventual, siblings
	UpdateBucket  *UpdateBucket  `json:"update_bucket,omitempty"`
	DeleteBucket  *DeleteBucket  `json:"delete_bucket,omitempty"`
	SetStoreState *SetStoreState `json:"set_store_state,omitempty"`
	SetFeature    *SetFeature    `json:"set_feature,omitempty"`
	ReplaceStore  *ReplaceStore  `json:"replace_store,omitempty"`
	Grow          *Grow          `json:"grow,omitempty"`
	Filled        *Filled        `json:"filled,omitempty"`
	Purge         *PurgeRounds   `json:"purge,omitempty"`
	Strong        *StrongChanges `json:"strong,omitempty"`
	Force         *Force         `json:"force,omitempty"`
}

// Init makes the cluster: its id, the length of replica lists, the feature level.
type Init struct {
	Cluster  ClusterID `json:"cluster"`
	Replicas int       `json:"replicas"` // 1..MaxReplicas
	Feature  uint16    `json:"feature"`
}

// Register admits a store, or a new start of a known one (D6). Store.State is
// ignored: a newcomer is up; a store that was down is up again; suspect and
// draining stay.
type Register struct {
	Store Store `json:"store"`
	// Expects is the boot count that the proposer saw registered for this sid;
	// 0: not checked. Another one is ErrStaleEpoch.
	Expects uint64 `json:"expects"`
	// ExpectsNonce is the nonce that the proposer saw registered for this sid and
	// knows as one of its store's own starts (D6); 0: none. Always checked: another
	// one is ErrStaleEpoch.
	ExpectsNonce uint64 `json:"expects_nonce,omitempty"`
	// Replaces names the store that has the node name now and is known to be dead:
	// it is retired by this command and stays in replica lists. Only below
	// FeatureBuilding; above it ReplaceStore is the way, which also takes its places.
	Replaces SID `json:"replaces,omitzero"`
}

// FirstRing shares the partitions among the given stores by Claim.
type FirstRing struct {
	Partitions int   `json:"partitions"` // 1..MaxPartitions
	Stores     []SID `json:"stores"`     // registered, distinct
}

// UpdateBucket changes the members that are set.
type UpdateBucket struct {
	Name   string         `json:"name"`
	R      *int           `json:"r,omitempty"`
	W      *int           `json:"w,omitempty"`
	Sloppy *bool          `json:"sloppy,omitempty"`
	TTL    *time.Duration `json:"ttl,omitempty"`
}

// DeleteBucket ends a bucket; its id is never used again.
type DeleteBucket struct {
	Name string `json:"name"`
}

// SetStoreState records what the Raft group decides about a store. Retired is final.
// From FeatureBuilding on a store that becomes suspect or retired raises the epoch of
// each partition that lists it; suspect ends by ReplaceStore or retirement only (D4);
// and a store that some partition has as its last full owner is not retired.
type SetStoreState struct {
	SID   SID        `json:"sid"`
	State StoreState `json:"state"`
}

// SetFeature raises the feature level; all stores in service must speak it.
type SetFeature struct {
	Feature uint16 `json:"feature"`
}
