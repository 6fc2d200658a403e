package store

import (
	"time"

	"github.com/syndtr/goleveldb/leveldb"
)

// Stats are for metrics; counts and times are since the start.
type Stats struct {
	Tables     int
	TableBytes int64
	Levels     []int // tables per level

	OpenTables int
	Iterators  int // alive; each pins tables

	Delays    int           // writes slowed down by compaction
	DelayTime time.Duration // of them
	Paused    bool          // writes wait for compaction now

	Flushes     int // memtables written to a table
	Compactions int

	Syncs     int64 // of files
	SyncTime  time.Duration
	DirSyncs  int64
	Written   int64  // bytes, compaction included
	ReadBytes uint64 // by reads and compaction
}

// Stats reads the counters; zero once the store is closed.
func (s *Store) Stats() (out Stats) {
	if !s.inUse.enter() {
		return out
	}
	defer s.inUse.leave()
	var db leveldb.DBStats
	if s.db.Stats(&db) != nil {
		return out
	}
	d := s.disc.Stats()
	out = Stats{
		TableBytes: db.LevelSizes.Sum(), Levels: db.LevelTablesCounts,
		OpenTables: db.OpenedTablesCount, Iterators: int(db.AliveIterators),
		Delays: int(db.WriteDelayCount), DelayTime: db.WriteDelayDuration, Paused: db.WritePaused,
		Flushes: int(db.MemComp), Compactions: int(db.Level0Comp + db.NonLevel0Comp),
		Syncs: d.Syncs, SyncTime: d.SyncTime, DirSyncs: d.DirSyncs, Written: d.BytesWritten, ReadBytes: db.IORead,
	}
	for _, n := range db.LevelTablesCounts {
		out.Tables += n
	}
	return out
}
