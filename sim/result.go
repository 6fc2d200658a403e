package sim

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/quoratedb/quorate/sim/check"
)

// Violation is a promise that was broken.
type Violation struct {
	Check       string // what found it
	Kind        string // what was broken: a rule of the protocol, or a verdict such as LOST
	Bucket, Key string // empty: it is not about a key
	Detail      string
	At          time.Duration // virtual
	Ops         []int         // positions in Result.History, the guilty one first
}

// MarshalJSON gives times in seconds.
func (v Violation) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Check  string  `json:"check"`
		Kind   string  `json:"kind"`
		Bucket string  `json:"bucket,omitempty"`
		Key    string  `json:"key,omitempty"`
		At     float64 `json:"at_seconds"`
		Detail string  `json:"detail"`
		Ops    []int   `json:"ops,omitempty"`
	}{v.Check, v.Kind, v.Bucket, v.Key, v.At.Seconds(), v.Detail, v.Ops})
}

func (v Violation) String() string {
	where := ""
	if v.Key != "" {
		where = " of " + v.Bucket + "/" + v.Key
	}
	return fmt.Sprintf("%s %s%s at %v: %s", v.Kind, v.Check, where, v.At, v.Detail)
}

// Result of one run. Its JSON is one line of `quorate sim -o json`.
type Result struct {
	Seed             uint64            `json:"seed"`
	TraceHash        string            `json:"trace_hash"` // 16 hex digits
	VirtualSeconds   float64           `json:"virtual_seconds"`
	WallSeconds      float64           `json:"wall_seconds"`
	Operations       int               `json:"operations"`
	Faults           int               `json:"faults"`
	Violations       []Violation       `json:"violations"`
	ScenariosReached []string          `json:"scenarios_reached"`
	Options          Draw              `json:"options"`
	Outcomes         outcomes          `json:"outcomes"`
	FaultList        []Fault           `json:"fault_list"`
	Probes           map[string]uint64 `json:"probes"`
	// Replay is the command that plays this run again.
	Replay string `json:"replay,omitempty"`
	// History is what the clients saw, when Options.KeepHistory asked for it.
	History []check.Op `json:"-"`
}

// OK tells that nothing was found.
func (r *Result) OK() bool { return len(r.Violations) == 0 }
