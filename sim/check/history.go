// Package check judges histories: what clients of a store saw, against what the
// store promises. It is pure (no clock, no goroutine of its own, no disk) and knows
// nothing of quorate's insides, so it can judge the simulator's runs, runs against
// real processes, and any other store's.
//
// A history is a slice of Op in any order. Every checker first tests its own
// assumptions (Validate) and answers with BrokenHistory if they do not hold: a
// verdict on a broken history would be worth nothing. A write that failed without a
// definite refusal stays open: it may take effect at any time after its call, or
// never. A failed read says nothing.
//
// No checker ever blames a legal history; each says how much of an illegal one it
// can miss.
package check

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Time is virtual or real time since the start of the run.
type Time = time.Duration

// Forever is when an operation of unknown outcome ends.
const Forever = Time(math.MaxInt64)

// Kind is what an operation asks for.
type Kind uint8

const (
	// Read asks for all values of a key.
	Read Kind = iota
	// Write stores a value.
	Write
	// Delete removes what is there.
	Delete
	// CAS stores a value, or with an empty one deletes, if the key holds just what
	// Context names: one value, or none at all.
	CAS
	// Add changes a counter by Op.Delta; Op.Count is the counter after it.
	Add
	// Total reads a counter: Op.Count.
	Total
)

// Outcome is how an operation ended for its client.
type Outcome uint8

const (
	// OK: a read's answer, or an acknowledged write.
	OK Outcome = iota
	// NotApplied: a write that was refused for certain, whatever the reason.
	NotApplied
	// Unknown: a write without an answer. It may take effect any time after its call.
	Unknown
	// Failed: a read without an answer. It is dropped.
	Failed
	// Mismatch: a CAS that compared and was refused; unlike NotApplied this says
	// something about what the key held.
	Mismatch
)

// Level is the guarantee that an operation asked for.
type Level uint8

const (
	// One store.
	One Level = iota
	// Quorum may be sloppy: stand-ins count.
	Quorum
	// All owners.
	All
	// Strict: owners only, R+W>N. Reads see every strict write acked before them.
	Strict
	// Session: the request carried a token, Op.Session says of what.
	Session
	// Past: a read of a strong bucket that may show any committed state of the past.
	Past
)

// Op is one operation as its client saw it.
type Op struct {
	Client      int
	Kind        Kind
	Bucket, Key string
	// Call <= Return. The interval is closed: an operation that returns at the time
	// another is called overlaps it. Return does not matter with Unknown.
	Call, Return Time
	Outcome      Outcome
	// Value is what a Write or CAS stores: not empty, and unique over the history. A
	// CAS with an empty value deletes; a Delete has none.
	Value string
	// Context, with HasContext, names the values that the writer's token covered as
	// far as the client knows: those of the answer that the token came with. What
	// their writers had seen in turn follows from their own contexts and need not be
	// named. Without HasContext a write replaces whatever its coordinator held.
	Context    []string
	HasContext bool
	// Read is what a read returned: all live siblings, none if not found.
	Read  []string
	Level Level
	// Session names, as Context does, what the read's session token covers.
	// SessionGone names values that the token covers as deleted or overwritten.
	Session, SessionGone []string
	// Version of the value written or returned, of the tombstone if that is known, or
	// empty where there are none: one to four decimal numbers joined by dots, compared
	// number by number, as many for all operations of a key. See FormatVersion.
	Version string
	// Delta of an Add; Count that an Add or a Total tells.
	Delta, Count int64
	Node         string
	// Resent marks a write that somebody on the way may have sent twice, so that it
	// may be carried out again after others have overwritten it (rule E16).
	Resent bool
	// Mints are the versions that the store really made for a write, if the history
	// was taken inside it. Only Causal looks at them.
	Mints []Mint
}

// Mint is one version made for a write, seen from inside the store.
type Mint struct {
	ID     string   // unique over the history: the dot
	Covers []string // ids of the versions that it may rightly replace
	Acked  bool     // this is the version that the client's answer stands for
}

// KeyRef names a key of a bucket.
type KeyRef struct{ Bucket, Key string }

func (k KeyRef) String() string { return k.Bucket + "/" + k.Key }

func (k KeyRef) compare(o KeyRef) int {
	if c := strings.Compare(k.Bucket, o.Bucket); c != 0 {
		return c
	}
	return strings.Compare(k.Key, o.Key)
}

// Ref is the key that the operation is about.
func (o *Op) Ref() KeyRef { return KeyRef{o.Bucket, o.Key} }

func (o *Op) deletes() bool { return o.Kind == Delete || o.Kind == CAS && o.Value == "" }

// applicable: the write took effect, or may have, or still may.
func (o *Op) applicable() bool { return o.writes() && (o.Outcome == OK || o.Outcome == Unknown) }

func (o *Op) writes() bool { return o.Kind != Read && o.Kind != Total }

// counts: the operation is about a counter, which only Counters looks at.
func (o *Op) counts() bool { return o.Kind == Add || o.Kind == Total }

// observed: the operation tells something about the key's state.
func (o *Op) observed() bool {
	return o.Kind == Read && o.Outcome == OK || o.Kind == CAS && o.Outcome == Mismatch
}

// end is the latest time at which the operation can take effect.
func (o *Op) end() Time {
	if o.Outcome == Unknown {
		return Forever
	}
	return o.Return
}

var (
	kindNames    = []string{"read", "write", "delete", "cas", "add", "total"}
	outcomeNames = []string{"ok", "not_applied", "unknown", "failed", "mismatch"}
	levelNames   = []string{"one", "quorum", "all", "strict", "session", "past"}
)

func nameOf(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%d", i)
}

func parseName(names []string, text []byte) (uint8, error) {
	if i := slices.Index(names, string(text)); i >= 0 {
		return uint8(i), nil
	}
	return 0, fmt.Errorf("%q is none of %s", text, strings.Join(names, ", "))
}

func (k Kind) String() string    { return nameOf(kindNames, uint8(k)) }
func (o Outcome) String() string { return nameOf(outcomeNames, uint8(o)) }
func (l Level) String() string   { return nameOf(levelNames, uint8(l)) }

// MarshalText gives the name, so that a history can be kept as JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// MarshalText gives the name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// MarshalText gives the name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText takes the name.
func (k *Kind) UnmarshalText(text []byte) error {
	i, err := parseName(kindNames, text)
	*k = Kind(i)
	return err
}

// UnmarshalText takes the name.
func (o *Outcome) UnmarshalText(text []byte) error {
	i, err := parseName(outcomeNames, text)
	*o = Outcome(i)
	return err
}

// UnmarshalText takes the name.
func (l *Level) UnmarshalText(text []byte) error {
	i, err := parseName(levelNames, text)
	*l = Level(i)
	return err
}

// String draws the operation on one line.
func (o *Op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "client %d %v", o.Client, o.Kind)
	switch {
	case o.Kind == Read && o.Outcome == OK:
		fmt.Fprintf(&b, " -> %v", o.Read)
	case o.Kind == Add:
		fmt.Fprintf(&b, " %+d -> %d", o.Delta, o.Count)
	case o.Kind == Total:
		fmt.Fprintf(&b, " -> %d", o.Count)
	case o.Value != "":
		fmt.Fprintf(&b, " %s", o.Value)
	}
	if o.HasContext {
		fmt.Fprintf(&b, " over %v", o.Context)
	}
	if o.Version != "" {
		fmt.Fprintf(&b, " @%s", o.Version)
	}
	if o.Outcome == Unknown {
		fmt.Fprintf(&b, " [%v..) unknown", o.Call)
	} else {
		fmt.Fprintf(&b, " [%v..%v] %v", o.Call, o.Return, o.Outcome)
	}
	return b.String()
}
