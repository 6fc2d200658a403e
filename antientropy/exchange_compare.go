package antientropy

// The first look: which keys differ in the leaves that do. The replica with fewer
// keys in a bundle shows its rows, so that an almost empty replica is compared at the
// price of what it has.

// bundle is the leaves being compared, and how far.
type bundle struct {
	leaves []uint16
	after  Pos
	rows   []Row // of this replica, behind after, up to upto
	upto   Pos
	more   bool // there are rows of this replica behind upto
	theirs bool // the other end shows its rows
}

func (x *Exchange) compareNext(now Duration) (Do, bool) {
	if x.bundle == nil {
		x.bundle = x.nextBundle()
	}
	if x.bundle == nil {
		return Do{}, false
	}
	return x.loadBundle(), true
}

// nextBundle takes leaves in order from where the exchange is, and once around.
func (x *Exchange) nextBundle() *bundle {
	leaf, ok := x.comp.next(x.at)
	if !ok {
		leaf, ok = x.comp.next(0)
	}
	if !ok {
		return nil
	}
	b := &bundle{}
	var mine, theirs uint32
	for ; ok && len(b.leaves) < BundleLeaves; leaf, ok = x.comp.next(leaf + 1) {
		m, t := x.tree.Leaf(leaf).Keys, x.theirs[leaf].Keys
		if len(b.leaves) > 0 && mine+m+theirs+t > CompareRows {
			break
		}
		mine, theirs = mine+m, theirs+t
		b.leaves = append(b.leaves, leaf)
	}
	b.theirs = theirs < mine
	x.at = b.leaves[0]
	return b
}

func (x *Exchange) loadBundle() Do {
	b := x.bundle
	return x.read(Load{Kind: LoadLeafRows, Leaves: b.leaves, After: b.after, Upto: End, MaxRows: CompareRows, MaxBytes: CompareBytes}, func(now Duration, l *Loaded) Do {
		for i := range l.Rows {
			x.result.Read += l.Rows[i].LeafRowSize()
		}
		b.rows, b.more, b.upto = l.Rows, l.More, End
		if l.More {
			b.upto = l.Last
		}
		return x.showBundle(now)
	})
}

func (x *Exchange) showBundle(now Duration) Do {
	b := x.bundle
	m := Message{Kind: MsgCompare, Nodes: b.leaves, After: b.after, Upto: b.upto, Theirs: b.theirs}
	if !b.theirs {
		m.Rows = b.rows
	}
	return x.ask(now, m)
}

// compared notes the keys that differ. The other end may have looked at less than was
// asked: the rest is shown again.
func (x *Exchange) compared(now Duration, asked, m *Message) Do {
	b := x.bundle
	if m.Upto.Compare(asked.After) <= 0 || m.Upto.Compare(asked.Upto) > 0 || !ordered(m.Rows, asked.After, m.Upto) {
		return x.end(ReasonGarbled)
	}
	n, exact := find(b.rows, m.Upto)
	if exact {
		n++
	}
	if b.theirs {
		diffRows(b.rows[:n], m.Rows, x.note)
	} else {
		for i := range m.Rows {
			r := &m.Rows[i]
			mine := uint64(0)
			if j, ok := find(b.rows[:n], r.Pos()); ok {
				mine = b.rows[j].Version
			}
			x.note(r, mine, r.Version)
		}
	}
	x.ripen(now)
	b.rows, b.after = b.rows[n:], m.Upto
	switch {
	case m.Upto.Compare(b.upto) < 0 && len(x.pairs) < MaxPairs:
		return x.showBundle(now)
	case m.Upto.Compare(b.upto) < 0 || b.more:
		return x.next(now)
	}
	for _, leaf := range b.leaves {
		x.comp.remove(leaf)
		delete(x.theirs, leaf)
	}
	x.bundle = nil
	return x.next(now)
}

func (x *Exchange) note(r *Row, mine, theirs uint64) {
	x.result.Differed++
	x.pairs = append(x.pairs, pair{Row{Bucket: r.Bucket, Key: r.Key, Hash: r.Hash, Version: mine}, theirs})
}

// diffRows walks two lists in order and tells of the keys whose versions differ.
func diffRows(mine, theirs []Row, tell func(r *Row, mine, theirs uint64)) {
	i, j := 0, 0
	for i < len(mine) || j < len(theirs) {
		c := 0
		switch {
		case i == len(mine):
			c = 1
		case j == len(theirs):
			c = -1
		default:
			c = mine[i].Pos().Compare(theirs[j].Pos())
		}
		switch {
		case c < 0:
			tell(&mine[i], mine[i].Version, 0)
			i++
		case c > 0:
			tell(&theirs[j], 0, theirs[j].Version)
			j++
		default:
			if mine[i].Version != theirs[j].Version {
				tell(&mine[i], mine[i].Version, theirs[j].Version)
			}
			i, j = i+1, j+1
		}
	}
}
