package store

import (
	"errors"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"
	lverrors "github.com/syndtr/goleveldb/leveldb/errors"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
	"github.com/quoratedb/quorate/quorum/version"
)

// keyRoom holds most keys on the stack of a read.
const keyRoom = 128

// Record is what the store holds of a key, nil if nothing. Errors: core.ErrCorrupt.
func (s *Store) Record(p uint32, b hashring.BucketID, key []byte) (*version.Object, error) {
	if !s.inUse.enter() {
		return nil, ErrClosed
	}
	defer s.inUse.leave()
	var room [keyRoom]byte
	at := appendRecordKey(room[:0], p, b, key)
	v, epoch, ok := s.rows.get(at)
	if ok {
		return wire.DecodeRecord(v)
	}
	v, err := s.row(at)
	if v == nil || err != nil {
		return nil, err
	}
	o, err := wire.DecodeRecord(v)
	if err == nil {
		s.rows.fill(at, v, epoch)
	}
	return o, err
}

// Hint is what the store holds of a key for another owner, nil if nothing, and its
// generation. Errors: core.ErrCorrupt.
func (s *Store) Hint(p uint32, b hashring.BucketID, key []byte, target hashring.SID) (*version.Object, uint64, error) {
	var room [keyRoom]byte
	v, err := s.get(appendHintKey(room[:0], p, target, b, key))
	if v == nil || err != nil {
		return nil, 0, err
	}
	return decodeHint(v)
}

// Counters of a partition. Errors: core.ErrCorrupt.
func (s *Store) Counters(p uint32) (core.Counters, error) {
	var room [keyRoom]byte
	v, err := s.get(appendCountersKey(room[:0], p))
	if v == nil || err != nil {
		return core.Counters{}, err
	}
	return decodeCounters(v)
}

// get returns a row of its own, nil if there is none.
func (s *Store) get(key []byte) ([]byte, error) {
	if !s.inUse.enter() {
		return nil, ErrClosed
	}
	defer s.inUse.leave()
	return s.row(key)
}

func (s *Store) row(key []byte) ([]byte, error) {
	v, err := s.db.Get(key, nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		s.met(err)
	}
	return v, readError(err)
}

// readError makes damage in a table core.ErrCorrupt: quarantine, never "absent" (D4).
func readError(err error) error {
	if err != nil && lverrors.IsCorrupted(err) {
		return fmt.Errorf("%w: %w", core.ErrCorrupt, err)
	}
	return err
}
