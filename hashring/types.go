// Package hashring is the one truth about who owns what: the ring state that the
// Raft group commits (PROTOCOLS.md section 1), the pure function that applies a
// command to it, and the preference lists that requests are planned by.
//
// Everything here is pure. A State is immutable once it has been published: Apply
// returns a new one.
package hashring

import (
	"encoding/hex"
	"fmt"
	"time"
)

// SID names a store: one formatted data directory. It is drawn at random when the
// directory is formatted. All counting of acks and votes is by SID.
type SID [16]byte

func (s SID) String() string { return hex.EncodeToString(s[:]) }

// Short is the first 8 hex digits, for logs and pictures.
func (s SID) Short() string { return hex.EncodeToString(s[:4]) }

// IsZero tells whether s names no store.
func (s SID) IsZero() bool { return s == SID{} }

// MarshalText and UnmarshalText give 32 hex digits, in JSON too.
func (s SID) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s *SID) UnmarshalText(b []byte) error {
	if len(b) != 2*len(s) {
		return fmt.Errorf("a store id has 32 hex digits, not %d", len(b))
	}
	_, err := hex.Decode(s[:], b)
	return err
}

// ParseSID reads the 32 hex digits of String.
func ParseSID(text string) (s SID, err error) { return s, s.UnmarshalText([]byte(text)) }

// ClusterID is drawn at bootstrap; it is in every hello. Zero: no cluster yet.
type ClusterID = SID

// BucketID is the ring version at which the bucket was created; never reused.
type BucketID uint64

// Mode of a bucket, fixed at creation.
type Mode string

const (
	Eventual Mode = "eventual"
	Strong   Mode = "strong" // from FeatureStrong on
)

// Conflict is how an eventual bucket merges concurrent writes, fixed at creation.
type Conflict string

const (
	Siblings Conflict = "siblings" // keep all, the client decides
	LWW      Conflict = "lww"      // keep the greatest (HLC, dot)
)

// StoreState as the Raft group has it; gossip's view of liveness is not here.
type StoreState string

const (
	StoreUp       StoreState = "up"
	StoreSuspect  StoreState = "suspect"
	StoreDown     StoreState = "down"
	StoreDraining StoreState = "draining"
	StoreRetired  StoreState = "retired"
)

// Store is one registered store and the node that runs on it.
type Store struct {
	SID    SID    `json:"sid"`
	Node   string `json:"node"`
	API    string `json:"api"`
	Gossip string `json:"gossip"`
	Peer   string `json:"peer"`
	Frames string `json:"frames,omitempty"` // where clients may come in by frames; empty: nowhere
	Zone   string `json:"zone,omitempty"`
	Boot   uint64 `json:"boot"` // highest registered boot count (D6)
	// Nonce was drawn by the start that has that boot count: a copy of the directory
	// can reach the count but not the nonce. 0: registered below FeatureNonce.
	Nonce uint64     `json:"nonce,omitempty"`
	State StoreState `json:"state"`
	// FeatureMax is the highest protocol version the store's binary speaks; the
	// ring's Feature never exceeds the least of them.
	FeatureMax uint16 `json:"feature_max"`
	// Successor is the store that took this one's place (ReplaceStore); only a
	// retired store has one. Hints for this store go there.
	Successor SID `json:"successor,omitzero"`
}

// Partition is one equal arc of the ring.
type Partition struct {
	Epoch    uint64 `json:"epoch"`
	Primary  SID    `json:"primary"`  // of Strong; zero while that is nil
	Replicas []SID  `json:"replicas"` // ordered, distinct stores
	// Building are those of Replicas that do not hold the partition yet, in list
	// order: they get every write and count for nothing until they are full.
	Building []SID `json:"building,omitempty"`
	// Session is the ring version at which the present stage began, 0 when nobody
	// is building. Streams to the building stores carry it (E7).
	Session uint64 `json:"session,omitempty"`
	// Purge is what deletion rounds have settled; nil before the first one.
	Purge *Purge `json:"purge,omitempty"`
	// Placed is the epoch at which Replicas, Building or a role in them last changed:
	// what requests of eventual buckets are planned by. 0: Epoch, as it was before there
	// was anything else that raises it.
	Placed uint64 `json:"placed,omitempty"`
	// Strong is who orders and who counts in strong buckets; nil until there is one.
	Strong *StrongConfig `json:"strong,omitempty"`
	// Loss is the ring version at which an operator last gave up the partition's last
	// full owner (Force): what was acked may be gone, what was deleted may come back. 0:
	// never. Never taken back.
	Loss uint64 `json:"loss,omitempty"`
}

// StrongConfig is a partition's configuration of strong mode (PROTOCOLS.md, 3.1). Its
// primary is Partition.Primary. Shared between states: do not write to it.
type StrongConfig struct {
	// Epoch is the partition's epoch as of the last change of this configuration
	// (T1 to T5). Epochs of strong mode strictly grow, with gaps (S1).
	Epoch       uint64  `json:"epoch"`
	Incarnation uint64  `json:"incarnation"` // from 1; grows by a forced recovery (T5)
	Sets        [][]SID `json:"sets"`        // [V], or joint [V, V']; ordered, distinct stores
	Activated   bool    `json:"activated"`   // the primary of Epoch has committed its barrier
	// Learners get the log and count for nothing; ordered by SID.
	Learners []SID `json:"learners,omitempty"`
	// PossibleLoss: an operator has forced a recovery (T5). Never taken back.
	PossibleLoss bool `json:"possible_loss,omitempty"`
	// Lost are stores that a recovery has left out; ordered by SID. They may hold what was
	// committed and is not any more, so they come back to this partition only as another
	// store, wiped.
	Lost []SID `json:"lost,omitempty"`
}

// PlanEpoch is the epoch that requests of eventual buckets carry.
func (p *Partition) PlanEpoch() uint64 {
	if p.Placed != 0 {
		return p.Placed
	}
	return p.Epoch
}

// Purge is the part of a partition's state that deletion rounds raise
// (PROTOCOLS.md, 2.1): everything at or below Clock was once held by every owner, so
// a sibling that comes late and is at or below it is refused for ever (E6). Shared
// between states: do not write to it.
type Purge struct {
	Generation uint64 `json:"generation"` // rounds committed
	Clock      Clock  `json:"clock"`
	TimeMS     int64  `json:"time_ms"` // unix ms: objects that expired before it are tombstones (E8)
}

// Bucket is a named set of keys with one mode and its defaults.
type Bucket struct {
	ID       BucketID      `json:"id"`
	Name     string        `json:"name"`
	Mode     Mode          `json:"mode"`
	Conflict Conflict      `json:"conflict"` // empty: strong
	N        int           `json:"n"`        // owners per key, at most State.Replicas; strong: just that
	R        int           `json:"r"`        // 0: a majority of the owners there are
	W        int           `json:"w"`        // 0: the same
	Sloppy   bool          `json:"sloppy"`   // fallbacks may count
	TTL      time.Duration `json:"ttl"`      // 0: for ever
}

// State is the Raft group's only data. Treat it as immutable.
type State struct {
	Version    uint64            `json:"version"` // grows with every change
	Cluster    ClusterID         `json:"cluster"`
	Feature    uint16            `json:"feature"`    // nothing newer is emitted
	Replicas   int               `json:"replicas"`   // length of a replica list where stores allow
	Stores     []Store           `json:"stores"`     // sorted by SID
	Partitions []Partition       `json:"partitions"` // empty until the first ring
	Buckets    map[string]Bucket `json:"buckets"`
}
