package store

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/quoratedb/quorate/hashring"
)

// Format of a data directory that this program writes. It reads those before, too, and
// makes them its own at a start: an older program would not see what is in packs.
//   - 1: a log entry of strong mode is a row.
//   - 2: or is in a pack.
const Format = 2

// maxPromised bounds a bootstrap set; the bootstrap-expect flag fits in a byte.
const maxPromised = 255

// maxIdentity bounds the identity file: a promise of 255 members is 9 KiB.
const maxIdentity = 64 << 10

// Identity says whose directory this is.
type Identity struct {
	SID     hashring.SID       `json:"sid"`
	Cluster hashring.ClusterID `json:"cluster"` // zero: in no cluster yet
	Format  uint16             `json:"-"`       // stands in the file's first line
	Boot    uint64             `json:"boot"`    // starts of this store, from 1 (D6)
	Promise *Promise           `json:"promise,omitempty"`
	// Starts are those of this directory that may be found registered, oldest first,
	// the present one last; at most MaxStarts (D6). Shared: do not write to it.
	Starts     []Start     `json:"starts,omitempty"`
	Quarantine *Quarantine `json:"quarantine,omitempty"`
	Damage     *Damage     `json:"damage,omitempty"`
	// Replaces is the store whose place this one was made to take (Wreck.SetAside).
	Replaces *Replaced `json:"replaces,omitempty"`

	// formatting: the database may be half made and nothing was ever promised.
	formatting bool
}

// Promise is the one bootstrap set that this store has agreed to be part of.
type Promise struct {
	Set       hashring.SID   `json:"set"` // random id of the set
	Initiator hashring.SID   `json:"initiator"`
	Members   []hashring.SID `json:"members"`
}

// identityFile is Identity with what only the file knows.
type identityFile struct {
	Identity
	Formatting bool `json:"formatting,omitempty"`
}

const (
	identityHead = "quorate store, format "
	identityTail = "crc32c "
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// EncodeIdentity is the identity file: a line with the format, one of JSON, one
// with the CRC-32C of both.
func EncodeIdentity(id Identity) ([]byte, error) {
	body, err := json.Marshal(identityFile{id, id.formatting})
	if err != nil {
		return nil, err
	}
	b := fmt.Appendf(nil, "%s%d\n%s\n", identityHead, Format, body)
	return fmt.Appendf(b, "%s%08x\n", identityTail, crc32.Checksum(b, castagnoli)), nil
}

// DecodeIdentity reads an identity file. Errors: ErrNewerFormat, *DamagedError.
func DecodeIdentity(b []byte) (Identity, error) {
	damaged := func(offset int, reason string) (Identity, error) {
		return Identity{}, &DamagedError{File: identityName, Offset: int64(offset), Reason: reason}
	}
	if len(b) > maxIdentity {
		return damaged(maxIdentity, fmt.Sprintf("it has %d bytes", len(b)))
	}
	head, rest, ok := strings.Cut(string(b), "\n")
	text, is := strings.CutPrefix(head, identityHead)
	format, err := strconv.ParseUint(text, 10, 16)
	if !ok || !is || err != nil {
		return damaged(0, "the first line names no format")
	}
	if format > Format {
		return Identity{}, fmt.Errorf("%w: its format is %d and this program reads up to %d; upgrade quorate, or choose another directory",
			ErrNewerFormat, format, Format)
	}
	body, sum, ok := strings.Cut(rest, "\n")
	at := len(b) - len(rest) + len(body) + 1
	if !ok || sum != fmt.Sprintf("%s%08x\n", identityTail, crc32.Checksum(b[:at], castagnoli)) {
		return damaged(len(head)+1, "the checksum is wrong")
	}
	var f identityFile
	d := json.NewDecoder(bytes.NewReader([]byte(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return damaged(len(head)+1, err.Error())
	}
	switch {
	case d.More():
		return damaged(len(head)+1, "more than one value")
	case f.SID.IsZero():
		return damaged(len(head)+1, "it names no store")
	case f.Promise != nil && len(f.Promise.Members) > maxPromised:
		return damaged(len(head)+1, "the promise has too many members")
	}
	if reason := f.checkStarts(); reason != "" {
		return damaged(len(head)+1, reason)
	}
	f.Identity.Format = uint16(format)
	f.formatting = f.Formatting
	return f.Identity, nil
}

func newSID() (s hashring.SID) {
	_, _ = rand.Read(s[:]) // never fails
	return s
}
