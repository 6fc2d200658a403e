package hashring

import (
	"slices"
	"strconv"
)

func (st *stage) strongBucket(words []string) string {
	b := &Bucket{Name: words[0], Mode: Strong}
	if len(words) > 1 {
		b.N = number(words[1])
	}
	return st.apply(Command{Kind: KindCreateBucket, CreateBucket: b})
}

func (st *stage) dropBucket(words []string) string {
	return st.apply(Command{Kind: KindDeleteBucket, DeleteBucket: &DeleteBucket{words[0]}})
}

// strong PARTITION KIND PRIMARY|- STORE...: at the epoch that there is.
func (st *stage) strong(words []string) string {
	epoch := "0"
	if p := number(words[0]); p >= 0 && p < len(st.s.Partitions) && st.s.Partitions[p].Strong != nil {
		epoch = itoa(st.s.Partitions[p].Strong.Epoch)
	}
	return st.strongAt(slices.Insert(slices.Clone(words), 1, epoch))
}

// strongAt PARTITION EPOCH KIND PRIMARY|- STORE...
func (st *stage) strongAt(words []string) string {
	c := StrongChange{Partition: uint32(number(words[0])), Epoch: uint64(number(words[1])), Kind: StrongKind(words[2])}
	if words[3] != "-" {
		c.Primary = sidOf(words[3])
	}
	for _, name := range words[4:] {
		c.Stores = append(c.Stores, sidOf(name))
	}
	if out := st.apply(Command{Kind: KindStrong, Strong: &StrongChanges{[]StrongChange{c}}}); out != "" {
		return out
	}
	part := &st.s.Partitions[c.Partition]
	return "plan " + itoa(part.PlanEpoch()) + ", strong " + st.s.drawStrong(part.Primary, part.Strong) + "\n"
}

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }
