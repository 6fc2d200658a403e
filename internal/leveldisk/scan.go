package leveldisk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

// Cut is a torn tail: the file's whole records end at To.
type Cut struct {
	File     storage.FileDesc
	To, From int64 // new and old size
}

// Report is what a scan found in a sound database.
type Report struct {
	Manifest storage.FileDesc
	Tables   int
	Journals int
	Records  int   // whole journal records, to be replayed
	Bytes    int64 // of journals
	Cuts     []Cut // at most one per file: the manifest's and the newest journal's
}

// batchHeader is the head of a journal record: sequence number, number of entries.
const batchHeader = 8 + 4

// Scan looks at the manifest, the tables it names and the journals behind it, and
// changes nothing. What an ordinary crash may leave is in Report.Cuts; what no
// crash explains is *ErrDamaged.
//
// One thing cannot be told apart: damage to the very last record of the newest
// journal looks like the torn write of a crash, and is cut off like one (TestEveryBitOfAJournal).
// Peers hold that record too. docs/GUARANTEES.md says what is left of a promise then.
func Scan(base Base) (Report, error) {
	m, rep, err := scanManifest(base)
	if err != nil {
		return rep, err
	}
	if err := checkTables(base, m); err != nil {
		return rep, err
	}
	rep.Tables = len(m.tables)
	return rep, scanJournals(base, m, &rep)
}

func scanManifest(base Base) (*manifest, Report, error) {
	m := &manifest{tables: map[int64]int64{}}
	fd, err := base.GetMeta()
	if err != nil {
		return m, Report{}, missingMeta(base, err)
	}
	rep := Report{Manifest: fd}
	err = withLog(base, fd, func(l *logFile) error {
		t, err := l.records(int(l.size), func(r record) error {
			if err := m.apply(r.head); err != nil {
				return &ErrDamaged{fd.String(), r.off, err.Error()}
			}
			return nil
		})
		if err != nil || t.why == "" {
			return err
		}
		at, found, err := l.recordAfter(t.bad, 1, func(head []byte) bool { return isTag(head[0]) })
		if err != nil {
			return err
		}
		if found {
			return &ErrDamaged{fd.String(), t.bad, fmt.Sprintf("%s, and a whole record follows at %d", t.why, at)}
		}
		rep.Cuts = append(rep.Cuts, Cut{fd, t.end, l.size})
		return nil
	})
	if err == nil && !m.hasComparer {
		err = &ErrDamaged{fd.String(), 0, "the first record is missing"}
	}
	return m, rep, err
}

func missingMeta(base Base, err error) error {
	if !isMissing(err) {
		var corrupted *storage.ErrCorrupted
		if errors.As(err, &corrupted) {
			return &ErrDamaged{"CURRENT", 0, err.Error()}
		}
		return err
	}
	fds, lerr := base.List(storage.TypeAll)
	if lerr != nil {
		return lerr
	}
	if _, used, err := everUsed(base, fds); err != nil {
		return err
	} else if !used {
		return ErrMissing
	}
	return &ErrDamaged{"CURRENT", 0, fmt.Sprintf("it names no manifest that exists, among %d database files", len(fds))}
}

// checkTables finds tables that are gone or have another size than the manifest
// says. Damage inside a table is found when it is read.
func checkTables(base Base, m *manifest) error {
	nums := make([]int64, 0, len(m.tables))
	for num := range m.tables {
		nums = append(nums, num)
	}
	slices.Sort(nums)
	for _, num := range nums {
		fd := storage.FileDesc{Type: storage.TypeTable, Num: num}
		size, err := fileSize(base, fd)
		switch {
		case isMissing(err):
			return &ErrDamaged{fd.String(), 0, "the table is missing"}
		case err != nil:
			return err
		case size < m.tables[num]:
			return &ErrDamaged{fd.String(), size, fmt.Sprintf("the table has %d bytes and must have %d", size, m.tables[num])}
		}
	}
	return nil
}

// liveJournals are those goleveldb will replay, oldest first.
func liveJournals(base Base, m *manifest) ([]storage.FileDesc, error) {
	fds, err := base.List(storage.TypeJournal)
	if err != nil {
		return nil, err
	}
	fds = slices.DeleteFunc(fds, func(fd storage.FileDesc) bool {
		return fd.Num < m.journal && (fd.Num != m.prevJournal || fd.Num == 0)
	})
	slices.SortFunc(fds, func(a, b storage.FileDesc) int { return int(a.Num - b.Num) })
	first := storage.FileDesc{Type: storage.TypeJournal, Num: m.journal}
	// A journal is removed only after a manifest record that names a later one is
	// synced; 0 is a database whose format was cut short.
	if m.journal != 0 && !slices.Contains(fds, first) {
		return nil, &ErrDamaged{first.String(), 0, "the journal is missing"}
	}
	return fds, nil
}

// scanJournals walks the live journals in order. Sequence numbers run through them
// without a gap; only the last journal that has any bytes may have a torn tail,
// because a journal is synced before its successor is written.
func scanJournals(base Base, m *manifest, rep *Report) error {
	fds, err := liveJournals(base, m)
	if err != nil {
		return err
	}
	rep.Journals = len(fds)
	// goleveldb starts the first journal at the manifest's number or one above it.
	next := seqRange{m.seq, m.seq + 1}
	torn := -1
	for i, fd := range fds {
		err := withLog(base, fd, func(l *logFile) error {
			rep.Bytes += l.size
			if l.size > 0 && torn >= 0 {
				c := rep.Cuts[len(rep.Cuts)-1]
				return &ErrDamaged{c.File.String(), c.To, fmt.Sprintf("the journal is cut off, and %v was begun after it", fd)}
			}
			cut, err := scanJournal(l, fd, &next, &rep.Records)
			if cut != nil {
				torn = i
				rep.Cuts = append(rep.Cuts, *cut)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// seqRange is what the next record's sequence number may be.
type seqRange struct{ lo, hi uint64 }

func scanJournal(l *logFile, fd storage.FileDesc, next *seqRange, count *int) (*Cut, error) {
	t, err := l.records(batchHeader, func(r record) error {
		if r.size < batchHeader {
			return &ErrDamaged{fd.String(), r.off, "a record is too short"}
		}
		seq := binary.LittleEndian.Uint64(r.head)
		if seq < next.lo {
			return errForeign
		}
		if seq > next.hi {
			return &ErrDamaged{fd.String(), r.off,
				fmt.Sprintf("writes are missing before it: number %d follows where %d must", seq, next.hi)}
		}
		n := seq + uint64(binary.LittleEndian.Uint32(r.head[8:]))
		*next = seqRange{n, n}
		*count++
		return nil
	})
	if err != nil || t.why == "" {
		return nil, err
	}
	if clean, err := l.zerosFrom(t.end); clean || err != nil {
		return nil, err // filled ahead (ahead.go)
	}
	// A file system may show a journal's unwritten end as zeros or as the old bytes
	// of some other file. So a later record counts only if its number is one that
	// can follow here: above the bad record's, by no more entries than fit (an entry
	// has at least 2 bytes).
	lo, hi := next.lo+1, next.hi+uint64(l.size-t.end)
	at, found, err := l.recordAfter(t.bad, batchHeader, func(head []byte) bool {
		seq := binary.LittleEndian.Uint64(head)
		return seq >= lo && seq <= hi
	})
	if err != nil {
		return nil, err
	}
	if found {
		return nil, &ErrDamaged{fd.String(), t.bad, fmt.Sprintf("%s, and a later record follows at %d", t.why, at)}
	}
	return &Cut{fd, t.end, l.size}, nil
}

func withLog(base Base, fd storage.FileDesc, use func(*logFile) error) error {
	r, err := base.Open(fd)
	if err != nil {
		return err
	}
	size, err := r.Seek(0, 2)
	if err == nil {
		err = use(newLogFile(r, size))
	}
	return errors.Join(err, r.Close())
}
