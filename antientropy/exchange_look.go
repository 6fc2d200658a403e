package antientropy

import "github.com/quoratedb/quorate/internal/plant"

// The second look (E12): a key is joined only if it still differs and neither end has
// touched it since the first one. What has moved is being written: the write itself
// brings it to all owners, or the next exchange does. A thorough exchange joins it
// all the same.

// looked is a key with the object that this replica has of it at the second look.
type looked struct {
	row    Row
	theirs uint64
	moved  bool // here; the other end may tell that it is alike by now
}

// ripen sets the time of the second look at what has just been found.
func (x *Exchange) ripen(now Duration) {
	if x.ripe = now + x.cfg.SecondLook; plant.Is(plant.ExchangeLooksOnce) {
		x.ripe = now
	}
}

// loadPairs reads the next keys anew.
func (x *Exchange) loadPairs() Do {
	n := min(len(x.pairs), LookKeys)
	keys := make([]Row, n)
	for i, p := range x.pairs[:n] {
		keys[i] = Row{Bucket: p.row.Bucket, Key: p.row.Key, Hash: p.row.Hash}
	}
	return x.read(Load{Kind: LoadObjects, Keys: keys, MaxRows: n, MaxBytes: SliceBytes}, func(now Duration, l *Loaded) Do {
		if len(l.Rows) == 0 || len(l.Rows) > n {
			return x.end(ReasonRead)
		}
		for i := range l.Rows {
			r, p := &l.Rows[i], &x.pairs[i]
			x.result.Read += r.RecordSize()
			if !r.Damaged && r.Version != p.theirs {
				x.batch = append(x.batch, looked{*r, p.theirs, r.Version != p.row.Version})
			}
		}
		if x.pairs = x.pairs[len(l.Rows):]; len(x.pairs) == 0 {
			x.pairs = nil
		}
		return x.next(now)
	})
}

// look shows the clocks of the batch.
func (x *Exchange) look(now Duration) Do {
	m := Message{Kind: MsgLook, Rows: make([]Row, len(x.batch))}
	for i := range x.batch {
		r := &x.batch[i]
		m.Rows[i] = Row{Bucket: r.row.Bucket, Key: r.row.Key, Hash: r.row.Hash, Version: r.theirs, Object: clockOf(r.row.Object)}
		if r.moved {
			m.Moving = append(m.Moving, uint16(i))
		}
	}
	return x.ask(now, m)
}

// lookedAt merges what this replica lacks; what the other one wants goes next.
func (x *Exchange) lookedAt(now Duration, m *Message) Do {
	n := int(m.Limit)
	if n == 0 || n > len(x.batch) || len(m.Rows) > n {
		return x.end(ReasonGarbled)
	}
	for _, i := range m.Want {
		if int(i) >= n || x.batch[i].row.Object == nil {
			return x.end(ReasonGarbled)
		}
		x.wanted = append(x.wanted, x.batch[i].row)
	}
	x.result.Moving += uint64(len(m.Moving))
	if x.batch = x.batch[n:]; len(x.batch) == 0 {
		x.batch = nil
	}
	return x.apply(now, m.Rows, x.next)
}
