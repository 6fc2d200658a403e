// Package report draws a run: one HTML file with everything in it, for a person who
// wants to know what was done to a cluster and what it did wrong. It knows checkers'
// types and nothing of who made the run, so simulated and real runs look the same.
package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"

	"github.com/quoratedb/quorate/sim/check"
)

// Input is a run as plain data. Times are since its start. Only Nodes and what there
// is to show need to be set; empty parts are left out of the page or said to be empty.
//
// A simulated run's Result maps to it field by field: Options, Counts and Scenarios
// are lists because their order is the page's; Nodes are "n1" to "nN", the names that
// faults and operations use; History needs a run that kept it; and each violation's
// Ops must be positions in just that History, not in a part of it that a checker was
// given. Operations cited that are not of the violation's key are not shown.
type Input struct {
	Title          string // what ran, such as "quorate sim"; empty: "quorate"
	Seed           uint64
	TraceHash      string // empty: left out
	Replay         string // the command that plays the run again; empty: left out
	VirtualSeconds float64
	WallSeconds    float64
	Options        []Pair // as drawn
	Counts         []Pair // operations by outcome, and what else was counted
	Nodes          []string
	// Healed is when all faults were ended, whatever their For, and the cluster had to
	// come to rest; 0: never, or unknown.
	Healed     check.Time
	Faults     []Fault
	History    []check.Op // any order
	Violations []Violation
	Scenarios  []Scenario
}

// Pair is a name with what belongs to it.
type Pair struct{ Name, Value string }

// Fault is one thing that was done to the cluster.
type Fault struct {
	ID     int // 0: it has none
	Class  string
	About  string // one sentence; may be empty
	At     check.Time
	For    check.Time // 0: over at once
	Nodes  []string   // whom it struck; none: the cluster or its clients
	Amount string     // rate, delay or offset; may be empty
}

// Violation is a checker's finding with its time, which is 0 for those that were found
// only when all was over.
type Violation struct {
	check.Violation
	At check.Time
}

// Scenario is one thing that runs should meet.
type Scenario struct {
	ID      string
	About   string
	Reached bool
	// Later says why no run can meet it yet, or what does instead; empty: a run can.
	Later string
}

// Bounds of the page: a browser must open it at once, whatever the run was.
const (
	maxLanes      = 64   // as many nodes as a simulated cluster may have
	maxBars       = 4000 // bars of faults, over all lanes
	maxRows       = 6    // bars above one another in a lane
	bins          = 220  // columns of operations: five units wide
	maxMarks      = 500  // cited operations, drawn as marks
	maxViolations = 50   // told with their operations
	maxCited      = 40   // operations of one violation
	maxLooked     = 1000 // positions of one violation that are looked at
	maxListed     = 500  // faults in the list
	maxKeys       = 10   // keys told in full
	maxOfKey      = 300  // operations of one key
	maxDrawn      = 30   // of these in its drawing
	maxPairs      = 200
	maxScenarios  = 500
	maxText       = 160 // characters of a key, a value or a name
	maxProse      = 2000
	maxValues     = 12 // values of one read or context
)

//go:embed page.html style.css
var files embed.FS

var page = template.Must(template.New("page.html").ParseFS(files, "page.html"))

// HTML writes the run as one page that needs nothing from elsewhere and runs no
// scripts. Whatever is in the input is shown as text. What is too much to draw is
// counted and said so. It fails only if w does.
func HTML(w io.Writer, in Input) error {
	style, err := files.ReadFile("style.css")
	if err != nil {
		return fmt.Errorf("the page's style: %w", err)
	}
	v := newView(&in)
	v.Style = template.CSS(style) // ours, and the only part that is not escaped
	if err := page.Execute(w, v); err != nil {
		return fmt.Errorf("writing the report of seed %d: %w", in.Seed, err)
	}
	return nil
}
