package hashring

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Random histories at FeatureStrong: those of TestBuildHistories, with strong buckets that
// come and go and changes of configurations, some late or impossible. What must hold
// besides:
//  1. one history of configurations per partition (S1): within a strong epoch primary,
//     sets and incarnation stay, epochs grow, and each begins without activation;
//  2. a new configuration is T1 to T5 of the one before, T3 of an activated one only (S7);
//  3. changes of strong mode leave the plan epoch alone, and nothing else raises the
//     epoch of strong mode;
//  4. whoever is named primary is in service and in a set;
//  5. no retirement takes the last majority of a set while there is a strong bucket.
func TestStrongHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistoryAt(t, FeatureStrong)
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			h.step(t, uint64(step)*3+100)
		}
	})
}

func (h *history) drawStrong(t *rapid.T) Command {
	switch rapid.IntRange(0, 9).Draw(t, "strong kind") {
	case 0, 1:
		return Command{Kind: KindCreateBucket, CreateBucket: &Bucket{Name: rapid.SampledFrom([]string{"s", "z"}).Draw(t, "name"), Mode: Strong}}
	case 2:
		return Command{Kind: KindDeleteBucket, DeleteBucket: &DeleteBucket{rapid.SampledFrom([]string{"s", "z"}).Draw(t, "name")}}
	}
	c := &StrongChanges{}
	for p := range h.s.Partitions {
		if rapid.IntRange(0, 2).Draw(t, "in the batch") > 0 {
			c.Changes = append(c.Changes, h.drawChange(t, p))
		}
	}
	return Command{Kind: KindStrong, Strong: c}
}

func (h *history) drawChange(t *rapid.T, p int) StrongChange {
	cfg := h.s.Partitions[p].Strong
	if cfg == nil {
		return StrongChange{Partition: uint32(p), Epoch: 1, Kind: StrongActivate}
	}
	c := StrongChange{Partition: uint32(p), Epoch: cfg.Epoch - uint64(rapid.IntRange(0, 5).Draw(t, "late")/5),
		Kind: rapid.SampledFrom([]StrongKind{StrongPrimary, StrongJoint, StrongJoint, StrongSettle, StrongSettle, StrongSettle, StrongAbort, StrongRecover,
			StrongActivate, StrongActivate, StrongActivate, StrongLearners}).Draw(t, "change")}
	some := func() (out []SID) {
		for _, st := range h.s.Stores {
			if len(out) < h.s.Replicas && rapid.IntRange(0, 2).Draw(t, "store") > 0 {
				out = append(out, st.SID)
			}
		}
		return out
	}
	one := rapid.SampledFrom(h.s.Stores).Draw(t, "primary").SID
	switch c.Kind {
	case StrongPrimary:
		c.Primary = one
	case StrongRecover:
		c.Primary, c.Stores = one, some()
		c.Stores = c.Stores[:min(len(c.Stores), rapid.IntRange(1, 3).Draw(t, "recovered"))]
	case StrongJoint, StrongLearners:
		c.Stores = some()
	case StrongSettle, StrongAbort:
		if rapid.Bool().Draw(t, "another") {
			c.Primary = one
		}
	}
	return c
}

// changeOf is the change of p that a command asks for, nil when it asks for none.
func changeOf(c *Command, p int) *StrongChange {
	if c.Strong == nil {
		return nil
	}
	for i := range c.Strong.Changes {
		if c.Strong.Changes[i].Partition == uint32(p) {
			return &c.Strong.Changes[i]
		}
	}
	return nil
}

func (h *history) checkStrong(t *rapid.T, c Command, next *State, p int) {
	was, is := &h.s.Partitions[p], &next.Partitions[p]
	if is.Strong == nil {
		if was.Strong != nil || is.PlanEpoch() != is.Epoch {
			t.Fatalf("%s took the configuration of p%d", c.Kind, p)
		}
		return
	}
	key, fixed := fmt.Sprint(p, " ", is.Strong.Epoch), fmt.Sprint(is.Primary, is.Strong.Sets, is.Strong.Incarnation)
	if before, known := h.configs[key]; known && before != fixed {
		t.Fatalf("%s changed strong epoch %s from %s to %s", c.Kind, key, before, fixed)
	}
	h.configs[key] = fixed
	if was.Strong == nil {
		if c.CreateBucket == nil || is.Strong.Activated || is.PlanEpoch() != was.PlanEpoch() || is.Strong.Epoch <= was.Epoch {
			t.Fatalf("%s began strong mode in p%d:\n%s", c.Kind, p, next.Picture())
		}
		return
	}
	switch {
	case is.Strong.Epoch < was.Strong.Epoch:
		t.Fatalf("%s took p%d back from strong epoch %d to %d", c.Kind, p, was.Strong.Epoch, is.Strong.Epoch)
	case is.Strong.Epoch == was.Strong.Epoch:
		if was.Strong.Activated && !is.Strong.Activated {
			t.Fatalf("%s deactivated p%d", c.Kind, p)
		}
	case is.Strong.Epoch <= was.Epoch || is.Strong.Activated || is.PlanEpoch() != was.PlanEpoch():
		t.Fatalf("%s: p%d\n%s\n%s", c.Kind, p, h.s.Picture(), next.Picture())
	case c.CreateBucket == nil:
		h.checkTransition(t, changeOf(&c, p), was, is, next)
	}
	h.checkMajorities(t, c, was, p, next)
}

// checkTransition reads 3.1 aloud.
func (h *history) checkTransition(t *rapid.T, c *StrongChange, was, is *Partition, next *State) {
	if c == nil || c.Epoch != was.Strong.Epoch {
		t.Fatalf("strong epoch %d came without being asked for, or late: %+v", is.Strong.Epoch, c)
	}
	old, now := was.Strong.Sets, is.Strong.Sets
	equal := func(a, b [][]SID) bool { return slices.EqualFunc(a, b, slices.Equal[[]SID]) }
	ok := false
	switch c.Kind {
	case StrongPrimary:
		ok = equal(old, now) && is.Primary == c.Primary
	case StrongJoint:
		ok = len(old) == 1 && len(now) == 2 && slices.Equal(old[0], now[0]) && slices.Equal(now[1], c.Stores)
	case StrongSettle:
		ok = len(old) == 2 && was.Strong.Activated && equal(now, old[1:])
	case StrongAbort:
		ok = len(old) == 2 && equal(now, old[:1])
	case StrongRecover:
		ok = is.Strong.PossibleLoss && is.Strong.Incarnation == was.Strong.Incarnation+1 && equal(now, [][]SID{c.Stores}) && len(c.Stores) <= 2
		for _, sid := range was.Strong.Members() { // who is left out is out for ever
			ok = ok && (slices.Contains(c.Stores, sid) || slices.Contains(is.Strong.Lost, sid) || stateOf(next, sid) == StoreRetired)
		}
	}
	for _, sid := range slices.Concat(slices.Concat(now...), is.Strong.Learners) {
		ok = ok && !slices.Contains(was.Strong.Lost, sid)
	}
	if ok = ok && (c.Kind == StrongRecover || is.Strong.Incarnation == was.Strong.Incarnation); !ok {
		t.Fatalf("%+v made %v of %v", c, now, old)
	}
	if st, _ := NewRing(next).Store(is.Primary); !is.Strong.IsMember(is.Primary) || !c.Primary.IsZero() && st.State != StoreUp && st.State != StoreDraining {
		t.Fatalf("%+v made %s primary, which is %s", c, st.Node, st.State)
	}
}

// checkMajorities: what was said to be suspect may take a majority away; a retirement may
// not. A forced recovery may do anything.
func (h *history) checkMajorities(t *rapid.T, c Command, was *Partition, p int, next *State) {
	retires := c.ReplaceStore != nil || c.SetStoreState != nil && c.SetStoreState.State == StoreRetired
	if !retires || !h.s.hasStrongBucket() {
		return
	}
	for _, set := range was.Strong.Sets {
		before, after := 0, 0
		for _, sid := range set {
			before += served(h.s, sid)
			after += served(next, sid)
		}
		if 2*before > len(set) && 2*after <= len(set) {
			t.Fatalf("%s took the majority of a set of p%d:\n%s%s", c.Kind, p, h.s.Picture(), next.Picture())
		}
	}
}

func stateOf(s *State, sid SID) StoreState {
	i, _ := s.find(sid)
	return s.Stores[i].State
}

func served(s *State, sid SID) int {
	for _, st := range s.Stores {
		if st.SID == sid && st.State != StoreSuspect && st.State != StoreRetired {
			return 1
		}
	}
	return 0
}
