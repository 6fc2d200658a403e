package hashring

import "fmt"

// force PARTITION STORE...: gives the stores up there.
func (st *stage) force(words []string) string {
	p := number(words[0])
	if p < 0 || p >= len(st.s.Partitions) {
		return "no such partition\n"
	}
	pl := ForcePlace{Partition: uint32(p), Epoch: st.s.Partitions[p].PlanEpoch()}
	for _, name := range words[1:] {
		pl.GiveUp = append(pl.GiveUp, sidOf(name))
	}
	if out := st.apply(Command{Kind: KindForce, Force: &Force{[]ForcePlace{pl}}}); out != "" {
		return out
	}
	return fmt.Sprintf("p%d  %s\n", p, st.s.drawPartition(&st.s.Partitions[p]))
}

// planForce shows what only an operator can bring back, given who is down.
func (st *stage) planForce([]string) (out string) {
	for _, f := range PlanForce(st.s, func(sid SID) bool { return !st.down[sid] }) {
		out += fmt.Sprintf("p%d n=%d: gives up %s; full: %s\n", f.Partition, f.N, st.s.names(f.GiveUp), st.s.names(f.Become))
	}
	return out
}
