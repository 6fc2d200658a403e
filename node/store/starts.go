package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/quoratedb/quorate/hashring"
)

// MaxStarts bounds the starts that an identity remembers (D6). A start that is known
// to be registered lets all before it go, so only a store that was started this often
// without hearing of any registration gets there; it then goes on under the newest
// nonce it has, because forgetting one that may be registered would lock it out.
const MaxStarts = 64

// Start is one start of a store. The nonce is drawn at random and durable before
// anybody hears of it: a copy of the directory draws others, however often it starts.
type Start struct {
	Boot  uint64 `json:"boot"`
	Nonce uint64 `json:"nonce"` // never 0
}

// Quarantine says for ever that the store was rolled back or cloned (D6).
type Quarantine struct {
	Boot       uint64 `json:"boot"`       // of this store, when it was found out
	Registered uint64 `json:"registered"` // boot count of the start that is not its own
}

// QuarantinedError refuses a store that has been found out; nothing was changed.
type QuarantinedError struct {
	Dir string
	SID hashring.SID
	Quarantine
}

func (e *QuarantinedError) Error() string {
	at := ""
	if e.Dir != "" {
		at = " in " + e.Dir
	}
	return fmt.Sprintf("store %v%s was rolled back or cloned and is quarantined: it was at boot %d when the cluster had registered boot %d, "+
		"which is no start of this directory. It may hold less than it has promised, so it never serves again, and neither a restart nor a "+
		"restored backup helps. If this is a copy, remove it, or run it elsewhere as a node of its own with an empty data directory. "+
		"If it is all that the node has, move the directory away and start again: the node then starts empty, as a new store, "+
		"which takes this one's place and is refilled by its peers", e.SID, at, e.Boot, e.Registered)
}

// Nonce of the present start; 0 before Open.
func (id *Identity) Nonce() uint64 {
	if len(id.Starts) == 0 {
		return 0
	}
	return id.Starts[len(id.Starts)-1].Nonce
}

// Drew tells whether the present start drew a nonce of its own.
func (id *Identity) Drew() bool {
	return len(id.Starts) > 0 && id.Starts[len(id.Starts)-1].Boot == id.Boot
}

// Foreign tells whether the start that the ring has registered for this store was one
// of another directory. The ring must be as new as the newest that this store has
// saved: what was registered before that is forgotten. A registration without nonce
// is of a time before there were any; then only the boot count tells.
func (id *Identity) Foreign(boot, nonce uint64) bool {
	if boot > id.Boot {
		return true
	}
	return nonce != 0 && !slices.ContainsFunc(id.Starts, func(s Start) bool { return s.Nonce == nonce })
}

// count makes id that of the next start. reg is what the saved ring has registered
// for the store, if it has.
func (id *Identity) count(reg *hashring.Store) {
	id.Boot++
	starts := id.Starts
	if reg != nil {
		starts = since(starts, reg)
	}
	if len(starts) < MaxStarts {
		starts = append(slices.Clone(starts), Start{Boot: id.Boot, Nonce: drawNonce()})
	}
	id.Starts = starts
}

// since are the starts that may still be found registered, given that reg is.
func since(starts []Start, reg *hashring.Store) []Start {
	if reg.Nonce != 0 {
		i := slices.IndexFunc(starts, func(s Start) bool { return s.Nonce == reg.Nonce })
		return starts[max(i, 0):]
	}
	i := slices.IndexFunc(starts, func(s Start) bool { return s.Boot >= reg.Boot })
	if i < 0 {
		i = len(starts)
	}
	return starts[i:]
}

func drawNonce() (n uint64) {
	for n == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		n = binary.BigEndian.Uint64(b[:])
	}
	return n
}

// checkStarts refuses what no Open writes.
func (id *Identity) checkStarts() string {
	if len(id.Starts) > MaxStarts {
		return fmt.Sprintf("it remembers %d starts", len(id.Starts))
	}
	last := uint64(0)
	for _, s := range id.Starts {
		if s.Nonce == 0 || s.Boot <= last || s.Boot > id.Boot {
			return fmt.Sprintf("start %d is out of order", s.Boot)
		}
		last = s.Boot
	}
	return ""
}

// savedRegistration is what the saved ring state says of the store; nil: nothing. A
// state that cannot be read is reported by those who need it.
func (s *Store) savedRegistration(sid hashring.SID) *hashring.Store {
	st, err := s.RingState()
	if err != nil || st == nil {
		return nil
	}
	if i, ok := slices.BinarySearchFunc(st.Stores, sid, func(st hashring.Store, sid hashring.SID) int { return st.SID.Compare(sid) }); ok {
		return &st.Stores[i]
	}
	return nil
}

// nextStart counts this start in id, which is not saved yet. A store that ended
// between learning of a foreign start and marking itself is marked now.
func (s *Store) nextStart(id *Identity) error {
	reg := s.savedRegistration(id.SID)
	if reg == nil || !id.Foreign(reg.Boot, reg.Nonce) {
		id.count(reg)
		return nil
	}
	id.Quarantine = &Quarantine{Boot: id.Boot, Registered: reg.Boot}
	return errors.Join(id.quarantined(s.disk.Path()), saveIdentity(s.disk, *id))
}

func (id *Identity) quarantined(dir string) error {
	if id.Quarantine == nil {
		return nil
	}
	return &QuarantinedError{Dir: dir, SID: id.SID, Quarantine: *id.Quarantine}
}

// SetQuarantine makes the store refuse every later start, durably, because another
// directory's start is registered for it. The result is never nil: a
// *QuarantinedError, joined with what kept the mark from being written.
func (s *Store) SetQuarantine(registered uint64) error {
	id := s.Identity()
	q := &Quarantine{Boot: id.Boot, Registered: registered}
	err := s.changeIdentity(func(i *Identity) error {
		if i.Quarantine == nil {
			i.Quarantine = q
		}
		return nil
	})
	return errors.Join(&QuarantinedError{Dir: s.disk.Path(), SID: id.SID, Quarantine: *q}, err)
}
