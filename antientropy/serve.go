package antientropy

import "slices"

// View is what the other end of an exchange knows of the partition when it is asked.
type View struct {
	Tree       *Tree
	Epoch      uint64
	Generation uint64
	// Refuse is why this replica takes no part now: not a full owner, busy.
	Refuse Reason
}

// Serving is one request at the end that does not lead. It keeps nothing between
// requests: an exchange that is cut off leaves nothing behind here.
type Serving struct {
	req   *Message
	rows  []Row // fetch: leaf rows whose objects are being read
	reply Message
	// Read is bytes of leaf rows and records read for it; Out of its reply.
	Read, Out uint64
}

// refusal is why the request cannot be carried out under the view.
func (v *View) refusal(m *Message) Reason {
	switch {
	case m.Epoch != v.Epoch:
		return ReasonEpoch
	case m.Generation != v.Generation:
		return ReasonGeneration
	case v.Refuse != ReasonNone:
		return v.Refuse
	case v.Tree == nil || !v.Tree.Known():
		return ReasonRebuilding
	}
	return ReasonNone
}

// Serve takes a request other than MsgEnd. Do's Load or Apply go on with Loaded and Applied; the request
// is done with the Do that sends.
func Serve(v View, m *Message) (*Serving, Do) {
	s := &Serving{req: m}
	s.reply = Message{Kind: m.Kind + 1, Exchange: m.Exchange, Step: m.Step, Epoch: v.Epoch, Generation: v.Generation, Thorough: m.Thorough}
	if why := v.refusal(m); why != ReasonNone {
		return s, s.refuse(why)
	}
	switch m.Kind {
	case MsgOpen:
		return s, s.open(v.Tree)
	case MsgDigests:
		return s, s.digests(v.Tree)
	case MsgCompare:
		if len(m.Nodes) <= BundleLeaves && m.After.Compare(m.Upto) < 0 && ordered(m.Rows, m.After, m.Upto) && rising(m.Nodes) {
			return s, Do{Load: &Load{Kind: LoadLeafRows, Leaves: m.Nodes, After: m.After, Upto: m.Upto, MaxRows: CompareRows, MaxBytes: CompareBytes}}
		}
	case MsgLook:
		if len(m.Rows) > 0 && len(m.Rows) <= LookKeys {
			return s, Do{Load: &Load{Kind: LoadObjects, Keys: keysOf(m.Rows), MaxRows: len(m.Rows), MaxBytes: SliceBytes}}
		}
	case MsgFetch:
		if len(m.Nodes) <= BundleLeaves && len(m.Digests) == len(m.Nodes) && rising(m.Nodes) {
			return s, Do{Load: &Load{Kind: LoadLeafRows, Leaves: m.Nodes, After: m.After, Upto: End, MaxRows: LookKeys, MaxBytes: CompareBytes}}
		}
	case MsgPush:
		if len(m.Rows) > 0 && len(m.Rows) <= LookKeys {
			return s, Do{Apply: m.Rows}
		}
	}
	return s, s.refuse(ReasonGarbled)
}

// rising checks a list of leaves.
func rising(leaves []uint16) bool {
	for i, leaf := range leaves {
		if leaf >= Leaves || i > 0 && leaves[i-1] >= leaf {
			return false
		}
	}
	return len(leaves) > 0
}

func (s *Serving) refuse(why Reason) Do {
	r := &s.reply
	r.Reason, r.Digests, r.Rows, r.Want, r.Moving = why, nil, nil, nil, nil
	return s.answer()
}

func (s *Serving) answer() Do {
	s.Out = s.reply.Size()
	m := s.reply
	return Do{Send: &m}
}

func (s *Serving) open(t *Tree) Do {
	s.reply.Digests = append(s.reply.Digests, t.Root())
	if len(s.req.Digests) != 1 {
		return s.refuse(ReasonGarbled)
	}
	if s.req.Digests[0] != t.Root() {
		for n := range uint16(fanout) {
			s.reply.Digests = append(s.reply.Digests, t.Node(1, n))
		}
	}
	return s.answer()
}

func (s *Serving) digests(t *Tree) Do {
	level := int(s.req.Level)
	if level > LeafTier || len(s.req.Nodes) > width(level) {
		return s.refuse(ReasonGarbled)
	}
	for _, n := range s.req.Nodes {
		if int(n) >= width(level) {
			return s.refuse(ReasonGarbled)
		}
		s.reply.Digests = append(s.reply.Digests, t.Node(level, n))
	}
	return s.answer()
}

// Loaded goes on with rows that were asked for, under the view of now.
func (s *Serving) Loaded(v View, l *Loaded) Do {
	if why := v.refusal(s.req); why != ReasonNone {
		return s.refuse(why)
	}
	if l.Err != nil {
		return s.refuse(ReasonRead)
	}
	switch s.req.Kind {
	case MsgCompare:
		return s.compare(l)
	case MsgLook:
		return s.look(l)
	case MsgFetch:
		if s.rows == nil {
			return s.fetch(v.Tree, l)
		}
		return s.ship(l)
	}
	return s.refuse(ReasonGarbled)
}

// Applied: what was pushed is merged and durable, or was refused.
func (s *Serving) Applied(why Reason) Do {
	if why != ReasonNone {
		return s.refuse(why)
	}
	return s.answer()
}

// compare tells of the keys that differ, as far as was read.
func (s *Serving) compare(l *Loaded) Do {
	for i := range l.Rows {
		s.Read += l.Rows[i].LeafRowSize()
	}
	s.reply.Upto = s.req.Upto
	if l.More {
		s.reply.Upto = l.Last
	}
	if s.req.Theirs {
		s.reply.Rows = l.Rows
		return s.answer()
	}
	n, exact := find(s.req.Rows, s.reply.Upto)
	if exact {
		n++
	}
	diffRows(l.Rows, s.req.Rows[:n], func(r *Row, mine, _ uint64) {
		s.reply.Rows = append(s.reply.Rows, Row{Bucket: r.Bucket, Key: r.Key, Hash: r.Hash, Version: mine})
	})
	return s.answer()
}

// look decides by clocks who lacks what (E12).
func (s *Serving) look(l *Loaded) Do {
	if len(l.Rows) == 0 || len(l.Rows) > len(s.req.Rows) {
		return s.refuse(ReasonRead)
	}
	s.reply.Limit = uint16(len(l.Rows))
	for i := range l.Rows {
		mine, theirs := &l.Rows[i], &s.req.Rows[i]
		s.Read += mine.RecordSize()
		send, want := lacks(theirs.Object, mine.Object), lacks(mine.Object, theirs.Object)
		moved := mine.Version != theirs.Version || slices.Contains(s.req.Moving, uint16(i))
		switch {
		case mine.Damaged || !sameKey(mine, theirs) || moved && (send || want) && !s.req.Thorough:
			s.reply.Moving = append(s.reply.Moving, uint16(i))
			continue
		case send:
			s.reply.Rows = append(s.reply.Rows, Row{Bucket: mine.Bucket, Key: mine.Key, Hash: mine.Hash, Object: mine.Object})
		}
		if want {
			s.reply.Want = append(s.reply.Want, uint16(i))
		}
	}
	return s.answer()
}

// fetch goes from the leaf rows to their objects.
func (s *Serving) fetch(t *Tree, l *Loaded) Do {
	for i := range l.Rows {
		s.Read += l.Rows[i].LeafRowSize()
	}
	s.reply.Upto = End
	if l.More {
		s.reply.Upto = l.Last
	}
	s.rows, s.reply.Moving = unmoved(l.Rows, s.req.Nodes, s.req.Digests, t)
	if len(s.rows) == 0 {
		return s.answer()
	}
	return Do{Load: &Load{Kind: LoadObjects, Keys: keysOf(s.rows), MaxRows: len(s.rows), MaxBytes: SliceBytes}}
}

func (s *Serving) ship(l *Loaded) Do {
	if len(l.Rows) == 0 || len(l.Rows) > len(s.rows) {
		return s.refuse(ReasonRead)
	}
	for i := range l.Rows {
		r := &l.Rows[i]
		s.Read += r.RecordSize()
		switch {
		case r.Version != s.rows[i].Version:
			s.movedLeaf(LeafOf(r.Hash))
		case r.Object != nil:
			s.reply.Rows = append(s.reply.Rows, Row{Bucket: r.Bucket, Key: r.Key, Hash: r.Hash, Object: r.Object})
		}
	}
	if n := len(l.Rows); n < len(s.rows) {
		s.reply.Upto = s.rows[n-1].Pos()
	}
	return s.answer()
}

// movedLeaf has the leaf compared key by key.
func (s *Serving) movedLeaf(leaf uint16) {
	for i, n := range s.req.Nodes {
		if n == leaf && (len(s.reply.Moving) == 0 || s.reply.Moving[len(s.reply.Moving)-1] != uint16(i)) {
			s.reply.Moving = append(s.reply.Moving, uint16(i))
		}
	}
}
