package ringraft

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/hashicorp/raft"
	"github.com/quoratedb/quorate/hashring"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"
)

const (
	snapshotVersion = 1
	// snapshotsKept: the newest, and the one before it should the newest be damaged.
	snapshotsKept = 2
	// snapshotMax is the largest ring state with room for its frame.
	snapshotMax = hashring.MaxStateBytes + 1<<20
)

// snapshotHeader stands before the data: JSON, its length in four bytes before it.
type snapshotHeader struct {
	ID            string `json:"id"`
	Index         uint64 `json:"index"`
	Term          uint64 `json:"term"`
	Configuration []byte `json:"configuration"` // as raft encodes it
	ConfigIndex   uint64 `json:"configuration_index"`
}

// snapshots is raft.SnapshotStore in the same database as the log: a snapshot is
// one synced value, there entirely or not at all.
type snapshots struct{ d *disk }

// sink gathers one snapshot; Close writes it.
type sink struct {
	d      *disk
	header snapshotHeader
	data   bytes.Buffer
	done   bool
}

func snapshotKey(index, term uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{keySnapshot}, index), term)
}

func snapshotID(index, term uint64) string { return fmt.Sprintf("%d-%d", index, term) }

// Create begins a snapshot.
func (s snapshots) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, cIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("raft snapshot version %d is not supported", version)
	}
	return &sink{d: s.d, header: snapshotHeader{ID: snapshotID(index, term), Index: index, Term: term,
		Configuration: raft.EncodeConfiguration(c), ConfigIndex: cIndex}}, nil
}

func (s *sink) ID() string { return s.header.ID }

func (s *sink) Write(p []byte) (int, error) {
	if s.data.Len()+len(p) > snapshotMax {
		return 0, fmt.Errorf("raft snapshot of more than %d bytes", snapshotMax)
	}
	return s.data.Write(p)
}

func (s *sink) Cancel() error {
	s.done = true
	return nil
}

// Close makes the snapshot durable and drops old ones, in one batch.
func (s *sink) Close() error {
	if s.done {
		return nil
	}
	s.done = true
	value, err := encodeSnapshot(&s.header, s.data.Bytes())
	if err != nil {
		return err
	}
	old, err := s.d.snapshotKeys()
	if err != nil {
		return err
	}
	var b leveldb.Batch
	for i := 0; i < len(old)-(snapshotsKept-1); i++ {
		b.Delete(old[i])
	}
	b.Put(snapshotKey(s.header.Index, s.header.Term), value)
	return s.d.write(&b)
}

// snapshotKeys are oldest first.
func (d *disk) snapshotKeys() (keys [][]byte, err error) {
	it := d.db.NewIterator(util.BytesPrefix([]byte{keySnapshot}), nil)
	defer it.Release()
	for it.Next() {
		keys = append(keys, append([]byte(nil), it.Key()...))
	}
	return keys, it.Error()
}

// List gives the snapshots that are sound, newest first.
func (s snapshots) List() ([]*raft.SnapshotMeta, error) {
	keys, err := s.d.snapshotKeys()
	if err != nil {
		return nil, err
	}
	var metas []*raft.SnapshotMeta
	for i := len(keys) - 1; i >= 0; i-- {
		meta, _, err := s.read(keys[i])
		if errors.Is(err, ErrCorrupt) {
			continue // the one before it takes its place
		}
		if err != nil {
			return nil, err
		}
		metas = append(metas, meta)
	}
	return metas, nil
}

// Open gives one snapshot's data.
func (s snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	var index, term uint64
	if _, err := fmt.Sscanf(id, "%d-%d", &index, &term); err != nil {
		return nil, nil, fmt.Errorf("raft snapshot id %q: %w", id, err)
	}
	meta, data, err := s.read(snapshotKey(index, term))
	if err != nil {
		return nil, nil, err
	}
	return meta, io.NopCloser(bytes.NewReader(data)), nil
}

func (s snapshots) read(key []byte) (*raft.SnapshotMeta, []byte, error) {
	value, err := s.d.db.Get(key, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("raft snapshot: %w", err)
	}
	h, data, err := decodeSnapshot(value)
	if err != nil {
		return nil, nil, err
	}
	c, err := decodeConfiguration(h.Configuration)
	if err != nil {
		return nil, nil, err
	}
	return &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, ID: h.ID, Index: h.Index, Term: h.Term,
		Configuration: c, ConfigurationIndex: h.ConfigIndex, Size: int64(len(data))}, data, nil
}

// encodeSnapshot: version, header length, header, data, CRC-32C of all before it.
func encodeSnapshot(h *snapshotHeader, data []byte) ([]byte, error) {
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 9+len(head)+len(data))
	b = append(b, snapshotVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(head)))
	b = append(append(b, head...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// decodeSnapshot is the inverse; data aliases b.
func decodeSnapshot(b []byte) (h snapshotHeader, data []byte, err error) {
	if len(b) < 9 {
		return h, nil, fmt.Errorf("%w: snapshot of %d bytes", ErrCorrupt, len(b))
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return h, nil, fmt.Errorf("%w: snapshot fails its checksum", ErrCorrupt)
	}
	if body[0] != snapshotVersion {
		return h, nil, fmt.Errorf("%w: snapshot version %d, this program reads %d", ErrCorrupt, body[0], snapshotVersion)
	}
	n := uint64(binary.BigEndian.Uint32(body[1:]))
	if n > uint64(len(body)-5) {
		return h, nil, fmt.Errorf("%w: snapshot header of %d bytes", ErrCorrupt, n)
	}
	d := json.NewDecoder(bytes.NewReader(body[5 : 5+n]))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil {
		return h, nil, fmt.Errorf("%w: snapshot header: %w", ErrCorrupt, err)
	}
	return h, body[5+n:], nil
}

// decodeConfiguration guards raft's decoder, which panics on garbage.
func decodeConfiguration(b []byte) (c raft.Configuration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: snapshot configuration: %v", ErrCorrupt, p)
		}
	}()
	return raft.DecodeConfiguration(b), nil
}
