package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/leveldisk"
)

// Damage is the durable mark of a store that is damaged where the scan before opening
// does not look, as in a table: no later start opens it (D4).
type Damage struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Reason string `json:"reason"`
}

// Replaced is what a store knows of the one whose directory it has inherited.
type Replaced struct {
	SID   hashring.SID `json:"sid"`
	Aside string       `json:"aside"` // folder in the data directory with what was left of it
}

// maxReason bounds the texts of a mark, so that the identity file stays small.
const maxReason = 512

func (id *Identity) damaged(dir string) error {
	if id.Damage == nil {
		return nil
	}
	return &DamagedError{Dir: dir, File: id.Damage.File, Offset: id.Damage.Offset, Reason: id.Damage.Reason}
}

// marked is why a store must not be opened, whatever its database looks like.
func (id *Identity) marked(dir string) error {
	if err := id.quarantined(dir); err != nil {
		return err
	}
	return id.damaged(dir)
}

func damageOf(d *DamagedError) *Damage {
	return &Damage{File: d.File[:min(len(d.File), maxReason)], Offset: d.Offset, Reason: strings.ToValidUTF8(d.Reason[:min(len(d.Reason), maxReason)], "?")}
}

// SetDamage makes the store refuse every later start, durably.
func (s *Store) SetDamage(d *DamagedError) error {
	return s.changeIdentity(func(i *Identity) error {
		if i.Damage == nil {
			i.Damage = damageOf(d)
		}
		return nil
	})
}

// asidePrefix begins the folders of stores that were set aside. They are never
// deleted by the program, and a directory with nothing else is empty.
const asidePrefix = "set-aside-"

// Wreck is the locked directory of a store that is damaged (D4), or was rolled back or
// cloned (D6): it serves nothing, and its database is not opened. It knows who it was,
// and no ring state but what it hears.
type Wreck struct {
	disk *dirDisk

	mu   sync.Mutex
	id   Identity
	ring *hashring.State
}

// OpenWreck locks the directory of a store that Open has refused. Errors: those of the
// identity file; without it nobody knows whose directory it is.
func OpenWreck(dir string) (*Wreck, error) {
	d, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	b, err := d.ReadFile(identityName)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	id, err := DecodeIdentity(b)
	if err == nil && (id.formatting || id.Cluster.IsZero()) {
		err = fmt.Errorf("store %v is in no cluster yet", id.SID)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &Wreck{disk: d, id: id}, nil
}

// Identity of the store that this was.
func (w *Wreck) Identity() Identity {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.id
}

var errWreck = errors.New("this store must not serve: its identity does not change")

// SetCluster and SetPromise belong to stores that begin.
func (w *Wreck) SetCluster(hashring.ClusterID) error { return errWreck }

// SetPromise is refused too.
func (w *Wreck) SetPromise(Promise) error { return errWreck }

// RingState is what has been heard since the start, in memory: the database that held
// it is not opened.
func (w *Wreck) RingState() (*hashring.State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ring, nil
}

// SaveRingState keeps it for this process.
func (w *Wreck) SaveRingState(st *hashring.State) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ring = st
	return nil
}

// SetQuarantine adds nothing to what is known of a wreck.
func (w *Wreck) SetQuarantine(registered uint64) error {
	id := w.Identity()
	return &QuarantinedError{Dir: w.disk.Path(), SID: id.SID, Quarantine: Quarantine{Boot: id.Boot, Registered: registered}}
}

// Close unlocks the directory.
func (w *Wreck) Close() error { return w.disk.Close() }

// SetAside moves everything of the store into a folder of the data directory, whose
// path it returns, and leaves the beginning of a new store in its place, one of the
// same cluster. Nothing is deleted. Each step is durable before the next, and a start
// after a crash in between goes on: until the last step the identity file is the old
// one, marked; after it the new store is begun.
func (w *Wreck) SetAside(why error) (where string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := fmt.Sprintf("%s%s-%d", asidePrefix, w.id.SID.Short(), w.id.Boot)
	where = filepath.Join(w.disk.dir, name)
	if err := w.mark(why); err != nil {
		return "", err
	}
	if err := leveldisk.MkdirAll(where); err != nil {
		return "", unwritable(where, err)
	}
	b, err := EncodeIdentity(w.id)
	if err != nil {
		return "", err
	}
	if err := replaceFile(filepath.Join(where, identityName), b); err != nil {
		return "", unwritable(where, err)
	}
	for _, part := range []string{databaseName, raftName} {
		if err := os.Rename(filepath.Join(w.disk.dir, part), filepath.Join(where, part)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", unwritable(where, err)
		}
	}
	if err := errors.Join(leveldisk.SyncDir(where), w.disk.SyncDir()); err != nil {
		return "", unwritable(where, err)
	}
	next := Identity{SID: newSID(), Cluster: w.id.Cluster, Replaces: &Replaced{SID: w.id.SID, Aside: name}, formatting: true}
	return where, saveIdentity(w.disk, next)
}

// mark makes sure that no start opens what a crash may leave half moved.
func (w *Wreck) mark(why error) error {
	if w.id.marked("") != nil {
		return nil
	}
	var d *DamagedError
	if !errors.As(why, &d) {
		d = &DamagedError{Reason: why.Error()}
	}
	next := w.id
	next.Damage = damageOf(d)
	if err := saveIdentity(w.disk, next); err != nil {
		return err
	}
	w.id = next
	return nil
}
