package store

import (
	"errors"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/internal/leveldisk"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

func appendHLCKey(dst []byte, shard int) []byte {
	return appendMetaKey(dst, metaHLC, byte(shard>>8), byte(shard))
}

// HLCBound is the greatest clock bound that any shard made durable before this start (E9).
func (s *Store) HLCBound() version.HLC { return s.hlcBound }

func (s *Store) readBounds() (bound version.HLC, err error) {
	prefix := appendMetaKey(nil, metaHLC)
	it := s.db.NewIterator(&util.Range{Start: prefix, Limit: upper(prefix)}, nil)
	defer it.Release()
	for it.Next() {
		h, err := decodeBound(it.Value())
		if err != nil {
			return 0, s.damagedRow("a clock bound", err)
		}
		bound = max(bound, h)
	}
	if err := it.Error(); err != nil {
		return 0, s.damagedRow("the clock bounds", err)
	}
	return bound, nil
}

// damagedRow is damage in a row without which the store cannot start.
func (s *Store) damagedRow(what string, err error) error {
	if errors.Is(err, core.ErrCorrupt) {
		err = &leveldisk.ErrDamaged{File: "database", Reason: what + ": " + err.Error()}
	}
	return s.explain("read "+what, err)
}

// explain gives damage its place and the way out, and any other error what was tried.
func (s *Store) explain(what string, err error) error {
	if d, is := leveldisk.AsDamaged(err); is {
		return &DamagedError{Dir: s.disk.Path(), File: databaseName + "/" + d.File, Offset: d.Offset, Reason: d.Reason}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// checkOwner compares the database's owner row with the identity file.
func (s *Store) checkOwner(id Identity) error {
	v, err := s.db.Get(appendMetaKey(nil, metaOwner), nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		return fmt.Errorf("%w: the database in %s names no store and the identity file names %v", ErrMismatch, s.disk.Path(), id.SID)
	}
	if err != nil {
		return s.damagedRow("the owner row", err)
	}
	sid, boot, err := decodeOwner(v)
	switch {
	case err != nil:
		return s.damagedRow("the owner row", err)
	case sid != id.SID:
		return fmt.Errorf("%w: in %s the database is of store %v and the identity file of %v; put back what belongs together, or move the directory away to start empty, as a new store that the peers refill",
			ErrMismatch, s.disk.Path(), sid, id.SID)
	case boot > id.Boot:
		return fmt.Errorf("%w: in %s the database has seen start %d and the identity file only %d; put back what belongs together, or move the directory away to start empty, as a new store that the peers refill",
			ErrMismatch, s.disk.Path(), boot, id.Boot)
	}
	return nil
}

func (s *Store) putOwner(id Identity) error {
	return s.db.Put(appendMetaKey(nil, metaOwner), appendOwner(nil, id.SID, id.Boot), s.sync)
}

// RingState is the last one saved, nil if there is none. Errors: core.ErrCorrupt,
// or those of hashring.DecodeState.
func (s *Store) RingState() (*hashring.State, error) {
	v, err := s.get(appendMetaKey(nil, metaRing))
	if v == nil || err != nil {
		return nil, err
	}
	body, err := unseal(v)
	if err != nil {
		return nil, fmt.Errorf("ring state: %w", err)
	}
	return hashring.DecodeState(body)
}

// SaveRingState is durable when it returns, so that a restart needs no Raft quorum.
func (s *Store) SaveRingState(st *hashring.State) error {
	if !s.inUse.enter() {
		return ErrClosed
	}
	defer s.inUse.leave()
	body, err := hashring.EncodeState(st)
	if err != nil {
		return err
	}
	v := endSeal(append(beginSeal(make([]byte, 0, len(body)+sealOverhead)), body...), 0)
	if err := s.db.Put(appendMetaKey(nil, metaRing), v, s.sync); err != nil {
		err = s.explain("write the ring state", err)
		s.fail(err)
		return err
	}
	return nil
}
