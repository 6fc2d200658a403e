package antientropy

// Leaves that one end does not have at all are shipped whole, without a list of their
// keys first: what is shipped is what is missing. Their second look is at the leaf:
// it is shipped only if both digests are still what they were; a leaf that has moved
// is compared key by key like others.

type direct struct {
	leaf         uint16
	mine, theirs Digest
}

// rechecked sorts out the leaves that have moved.
func (x *Exchange) rechecked(now Duration, asked, m *Message) Do {
	if len(m.Digests) != len(asked.Nodes) || len(asked.Nodes) != len(x.direct) {
		return x.end(ReasonGarbled)
	}
	keep := x.direct[:0]
	for i, d := range x.direct {
		mine, theirs := x.tree.Leaf(d.leaf), m.Digests[i]
		switch {
		case mine == theirs:
		case mine == d.mine && theirs == d.theirs:
			keep = append(keep, d)
		default:
			x.theirs[d.leaf] = theirs
			x.comp.add(d.leaf)
		}
	}
	x.direct, x.sure = keep, true
	return x.next(now)
}

// shipment is a bundle of leaves on their way, all in one direction.
type shipment struct {
	leaves []uint16
	was    []Digest // of the end that has them
	fetch  bool
	after  Pos
	rows   []Row // push: leaf rows whose objects wait
	more   bool  // push: there are leaf rows behind after
}

// shipLeaves begins with the next leaves that go one way.
func (x *Exchange) shipLeaves(now Duration) Do {
	s := &shipment{fetch: x.direct[0].mine.Keys == 0, more: true}
	n := 0
	for ; n < len(x.direct) && n < BundleLeaves && (x.direct[n].mine.Keys == 0) == s.fetch; n++ {
		d := &x.direct[n]
		s.leaves = append(s.leaves, d.leaf)
		if s.fetch {
			s.was = append(s.was, d.theirs)
		} else {
			s.was = append(s.was, d.mine)
		}
	}
	if x.direct = x.direct[n:]; len(x.direct) == 0 {
		x.direct = nil
	}
	x.ship, x.at = s, s.leaves[0]
	return x.shipNext(now)
}

func (x *Exchange) shipNext(now Duration) Do {
	s := x.ship
	switch {
	case s.fetch && s.more:
		return x.ask(now, Message{Kind: MsgFetch, Nodes: s.leaves, Digests: s.was, After: s.after})
	case len(s.rows) > 0:
		return x.loadShipment()
	case s.more:
		return x.loadLeaves()
	}
	x.ship = nil
	return x.next(now)
}

// fetched merges a slice of objects; leaves that have moved are compared later.
func (x *Exchange) fetched(now Duration, asked, m *Message) Do {
	s := x.ship
	if m.Upto.Compare(asked.After) <= 0 {
		return x.end(ReasonGarbled)
	}
	for _, i := range m.Moving {
		if int(i) >= len(s.leaves) {
			return x.end(ReasonGarbled)
		}
		x.compareLater(s.leaves[i], s.was[i])
	}
	s.after, s.more = m.Upto, m.Upto.Compare(End) < 0
	x.result.Differed += uint64(len(m.Rows))
	return x.apply(now, m.Rows, x.next)
}

func (x *Exchange) compareLater(leaf uint16, theirs Digest) {
	x.theirs[leaf] = theirs
	x.comp.add(leaf)
}

// loadLeaves reads the rows of the leaves to push.
func (x *Exchange) loadLeaves() Do {
	s := x.ship
	return x.read(Load{Kind: LoadLeafRows, Leaves: s.leaves, After: s.after, Upto: End, MaxRows: CompareRows, MaxBytes: CompareBytes}, func(now Duration, l *Loaded) Do {
		for i := range l.Rows {
			x.result.Read += l.Rows[i].LeafRowSize()
		}
		var moved []uint16
		s.rows, moved = unmoved(l.Rows, s.leaves, s.was, x.tree)
		for _, i := range moved {
			x.compareLater(s.leaves[i], Digest{})
		}
		s.more = l.More
		if l.More {
			s.after = l.Last
		}
		return x.next(now)
	})
}

// loadShipment reads objects and pushes them. One whose version is not its row's has
// been written just now.
func (x *Exchange) loadShipment() Do {
	s := x.ship
	n := min(len(s.rows), LookKeys)
	return x.read(Load{Kind: LoadObjects, Keys: keysOf(s.rows[:n]), MaxRows: n, MaxBytes: SliceBytes}, func(now Duration, l *Loaded) Do {
		if len(l.Rows) == 0 || len(l.Rows) > n {
			return x.end(ReasonRead)
		}
		out := make([]Row, 0, len(l.Rows))
		for i := range l.Rows {
			r := &l.Rows[i]
			x.result.Read += r.RecordSize()
			switch {
			case r.Damaged:
			case r.Version != s.rows[i].Version:
				x.compareLater(LeafOf(r.Hash), Digest{})
			default:
				out = append(out, *r)
			}
		}
		s.rows = s.rows[len(l.Rows):]
		if len(out) == 0 {
			return x.next(now)
		}
		x.result.Differed += uint64(len(out))
		return x.push(now, out)
	})
}

// unmoved leaves out the rows of leaves that are no longer what they were, and tells
// the places of those leaves. The tree is ahead of what is durable: as long as a leaf
// is what it was at the first look, so are its rows.
func unmoved(rows []Row, leaves []uint16, was []Digest, tree *Tree) (out []Row, moved []uint16) {
	at := 0
	for i := range rows {
		leaf := LeafOf(rows[i].Hash)
		for at < len(leaves) && leaves[at] < leaf {
			at++
		}
		if at == len(leaves) {
			break
		}
		if tree.Leaf(leaf) == was[at] {
			out = append(out, rows[i])
		} else if len(moved) == 0 || moved[len(moved)-1] != uint16(at) {
			moved = append(moved, uint16(at))
		}
	}
	return out, moved
}
