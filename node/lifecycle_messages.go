package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/quoratedb/quorate/hashring"
)

// Control calls of the lifecycle. Payloads are JSON with a version; unknown
// members and versions are refused, like anything after the value.
const (
	methodCluster  = "cluster"   // who are you, in which cluster, and do you take me
	methodPromise  = "promise"   // join my bootstrap set
	methodPropose  = "propose"   // commit this ring command, if you lead
	methodRing     = "ring"      // the ring state, if it is newer than mine
	methodRingPush = "ring-push" // here is a newer ring state
)

// lifeFormat is the version of all lifecycle payloads.
const lifeFormat = 1

// head is the version member that every payload begins with.
type head struct {
	V int `json:"v"`
}

func (h head) format() int { return h.V }

type versioned interface{ format() int }

// clusterAsk introduces the asker.
type clusterAsk struct {
	head
	Boot uint64       `json:"boot"`
	Run  hashring.SID `json:"run"` // of the asker's process
	// Starts are the nonces that the asker remembers as its own, the present one last,
	// and Ring the version of the ring it knows (D6). Not sent below FeatureNonce.
	Starts []uint64 `json:"starts,omitempty"` // at most store.MaxStarts
	Ring   uint64   `json:"ring,omitempty"`
}

// clusterAnswer says who answers and what it thinks of the asker.
type clusterAnswer struct {
	head
	SID       hashring.SID       `json:"sid"`
	Node      string             `json:"node"`
	Cluster   hashring.ClusterID `json:"cluster"`
	Set       hashring.SID       `json:"set"`       // promised bootstrap set
	Initiator hashring.SID       `json:"initiator"` // of that set
	Ring      uint64             `json:"ring"`
	Leader    hashring.SID       `json:"leader"` // as it knows
	LeaderAt  string             `json:"leader_at"`
	Voters    []hashring.SID     `json:"voters,omitempty"` // when it votes itself
	Refused   string             `json:"refused,omitempty"`
}

// promiseAsk asks for a promise to one bootstrap set, whose id is the cluster's
// id should it come to be.
type promiseAsk struct {
	head
	Set     hashring.SID   `json:"set"`
	Members []hashring.SID `json:"members"`
}

// promiseAnswer: promised when both ids are the asked set's.
type promiseAnswer struct {
	head
	Cluster   hashring.ClusterID `json:"cluster"` // not zero: join this instead
	Set       hashring.SID       `json:"set"`
	Initiator hashring.SID       `json:"initiator"`
}

// proposeAsk carries one command as hashring encodes it.
type proposeAsk struct {
	head
	Command []byte `json:"command"`
}

// proposeAnswer has exactly one of state, refusal, not leader or unknown.
type proposeAnswer struct {
	head
	State     []byte            `json:"state,omitempty"`
	Refusal   *hashring.Refusal `json:"refusal,omitempty"`
	NotLeader bool              `json:"not_leader,omitempty"`
	Leader    hashring.SID      `json:"leader"` // a hint
	LeaderAt  string            `json:"leader_at"`
	Unknown   string            `json:"unknown,omitempty"` // outcome unknown, and why
}

// ringAsk: Newest asks a leader to make sure of its state first.
type ringAsk struct {
	head
	Have   uint64 `json:"have"`
	Newest bool   `json:"newest"`
}

// ringAnswer carries the state when it is newer than what the asker has.
type ringAnswer struct {
	head
	Version  uint64       `json:"version"`
	State    []byte       `json:"state,omitempty"`
	Leader   hashring.SID `json:"leader"`
	LeaderAt string       `json:"leader_at"`
}

// ringPush carries a state; the answer is a ringAnswer without one.
type ringPush struct {
	head
	State []byte `json:"state"`
}

var errPayload = errors.New("malformed control payload")

func encodePayload(v versioned) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPayload, err)
	}
	return b, nil
}

func decodePayload(b []byte, v versioned) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", errPayload, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more than one value", errPayload)
	}
	if v.format() != lifeFormat {
		return fmt.Errorf("%w: version %d, this program reads %d", errPayload, v.format(), lifeFormat)
	}
	return nil
}

// ask makes one control call with the lifecycle's time limit.
func (l *lifecycle) ask(ctx context.Context, addr, method string, in, out versioned) error {
	parts := l.parts.Load()
	if parts == nil {
		return errStarting
	}
	b, err := encodePayload(in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Times.RPC)
	defer cancel()
	if b, err = parts.peer.Call(ctx, addr, method, b); err != nil {
		return err
	}
	return decodePayload(b, out)
}

func randomSID() (s hashring.SID) {
	_, _ = rand.Read(s[:]) // never fails
	return s
}
