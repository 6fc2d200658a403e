package strong

import "time"

// Options of a replica: patience and bounds. The zero value is right for production.
type Options struct {
	Heartbeat time.Duration // 0: 250 ms. A primary without traffic says that it is there, at multiples of it
	Retry     time.Duration // 0: 300 ms. After it an unanswered message is sent again
	Silence   time.Duration // 0: 2 s (Tfail). After it a follower calls its primary silent
	Disk      time.Duration // 0: 3 s (Tdisk). A primary whose oldest batch is older gives its role up
	// CommitDelay is how long a new commit index waits for an Append to ride on, 0: 25 ms.
	CommitDelay time.Duration
	Doubt       time.Duration // 0: 30 s. How long a store that differs from the primary waits for it to find that it is the primary
	Window      time.Duration // 0: 10 min. How long a request id is known
	// Lease is for how long this store lends its promise to a primary, and asks for the
	// same as one; LeaseLeast to LeaseMost. 0: never.
	Lease time.Duration

	LogEntries   int // 0: 8,192. The log is cut behind it though a follower may lack it
	LogBytes     int // 0: 32 MiB. The same in bytes
	CutEntries   int // 0: 256. Least number of entries to cut at once: a range deletion each
	CacheBytes   int // 0: 4 MiB. Entries kept in memory although they are applied and synced
	AppendBytes  int // 0: 256 KiB of entries in a message; always at least one entry
	InFlight     int // 0: 1,024 entries on their way to a follower
	FlightBytes  int // 0: 4 MiB of entries on their way to a follower
	Pending      int // 0: 4,096 operations and reads that wait; more are refused
	PendingBytes int // 0: 32 MiB of entries that are not applied; more are refused
	// AloneBytes is the same while no majority has been heard for Silence, 0: 1 MiB. What is
	// sequenced then only gathers, deadlines or not, and in all partitions at once.
	AloneBytes  int
	KeyInFlight int // 0: 256 writes of one key that wait; more are refused (429)
	Apply       int // 0: 1,024 entries applied in one step
	SliceRows   int // 0: 256 rows of a snapshot's slice
	SliceBytes  int // 0: 256 KiB of a snapshot's slice
}

func or[T int | time.Duration](v *T, normal T) {
	if *v <= 0 {
		*v = normal
	}
}

func (o Options) filled() Options {
	or(&o.Heartbeat, 250*time.Millisecond)
	or(&o.Retry, 300*time.Millisecond)
	or(&o.Silence, 2*time.Second)
	or(&o.Disk, 3*time.Second)
	or(&o.CommitDelay, 25*time.Millisecond)
	or(&o.Doubt, 30*time.Second)
	or(&o.Window, 10*time.Minute)
	or(&o.LogEntries, 8192)
	or(&o.LogBytes, 32<<20)
	or(&o.CutEntries, 256)
	or(&o.CacheBytes, 4<<20)
	or(&o.AppendBytes, 256<<10)
	or(&o.InFlight, 1024)
	or(&o.FlightBytes, 4<<20)
	or(&o.Pending, 4096)
	or(&o.PendingBytes, 32<<20)
	or(&o.AloneBytes, 1<<20)
	or(&o.KeyInFlight, 256)
	or(&o.Apply, 1024)
	or(&o.SliceRows, 256)
	or(&o.SliceBytes, 256<<10)
	return o
}

const (
	// stampAhead is how far a request id's stamp may be ahead of the clocks that are known:
	// ids from the future would be kept for ever.
	stampAhead = time.Hour
	// pinFor is how long a snapshot's receiver holds the log back after its last ask:
	// a receiver that is gone must not.
	pinFor = 10 * time.Second
	// pinFactor times the bounds of the log: past it even a snapshot under way starts over.
	pinFactor = 4
	// servingMax is how many slices are read at once: one for each receiver of a
	// partition, and replicas are few.
	servingMax = 8
	// caughtUpRuns heartbeats at which a learner had all that was committed at the
	// heartbeat before: it can keep up (3.5, "twice running").
	caughtUpRuns = 2
	// pollFirst and pollMost bound the wait between two looks of a quorum read at an
	// entry that is not known to be committed; after polls looks the primary is asked.
	pollFirst = 2 * time.Millisecond
	pollMost  = 50 * time.Millisecond
	polls     = 8
)
