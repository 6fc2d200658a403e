package hashring

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// PreferenceString draws who serves the first n owners of partition p: the owners
// in order, a dead one as name(down), then the stand-ins in the order in which they
// are asked, each live one that is needed with the owner whose place it takes:
//
//	a b(down) c | d for b, e
//
// An owner that counts for nothing is drawn as name(building) or name(out).
func (r *Ring) PreferenceString(p uint32, n int, alive func(SID) bool) string {
	var out strings.Builder
	var missing []SID
	for i, sid := range r.Owners(p, n) {
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(r.name(sid, alive))
		if role := r.Roles(p, n)[i]; role != Full {
			out.WriteString("(" + role.String() + ")")
		}
		if !alive(sid) {
			missing = append(missing, sid)
		}
	}
	for i, sid := range r.Fallbacks(p, n) {
		if i == 0 {
			out.WriteString(" | ")
		} else {
			out.WriteString(", ")
		}
		out.WriteString(r.name(sid, alive))
		if alive(sid) && len(missing) > 0 {
			out.WriteString(" for " + r.nodeName(missing[0]))
			missing = missing[1:]
		}
	}
	for i, sid := range missing {
		if i == 0 {
			out.WriteString(" ! nobody for")
		}
		out.WriteString(" " + r.nodeName(sid))
	}
	return out.String()
}

func (r *Ring) name(sid SID, alive func(SID) bool) string {
	if alive(sid) {
		return r.nodeName(sid)
	}
	return r.nodeName(sid) + "(down)"
}

func (s *State) nodeName(sid SID) string {
	if i, ok := s.find(sid); ok {
		return s.Stores[i].Node
	}
	return sid.Short()
}

// Picture draws the whole state as text: stores with their virtual nodes (lists that
// begin with the store) and places, then every partition's list, then the buckets.
func (s *State) Picture() string {
	var out strings.Builder
	fmt.Fprintf(&out, "ring %d, cluster %s, feature %d, replicas %d\n", s.Version, s.Cluster.Short(), s.Feature, s.Replicas)
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	s.drawStores(w)
	_ = w.Flush() // into memory: cannot fail
	for p := range s.Partitions {
		part := &s.Partitions[p]
		fmt.Fprintf(w, "p%d\tepoch %d\t%s\n", p, part.Epoch, s.drawPartition(part))
	}
	_ = w.Flush()
	for _, name := range sortedKeys(s.Buckets) {
		b := s.Buckets[name]
		fmt.Fprintf(w, "bucket %s\tid %d\t%s %s n=%d r=%d w=%d sloppy=%t ttl=%v\n", b.Name, b.ID, b.Mode, b.Conflict, b.N, b.R, b.W, b.Sloppy, b.TTL)
	}
	_ = w.Flush()
	return trimLines(out.String())
}

// drawPartition draws a list with what is not settled in it.
func (s *State) drawPartition(part *Partition) string {
	var out strings.Builder
	for i, sid := range part.Replicas {
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(s.nodeName(sid))
		if slices.Contains(part.Building, sid) {
			fmt.Fprintf(&out, "(building, session %d)", part.Session)
		}
	}
	if g := part.Purge; g != nil {
		fmt.Fprintf(&out, "  purge %d: %d actors, before %d ms", g.Generation, len(g.Clock), g.TimeMS)
	}
	if part.Loss != 0 {
		fmt.Fprintf(&out, "  possible loss at ring %d", part.Loss)
	}
	if c := part.Strong; c != nil {
		out.WriteString("  strong " + s.drawStrong(part.Primary, c))
	}
	return out.String()
}

// drawStrong draws a configuration: epoch and incarnation, the sets with the primary
// marked by a star, and what is not settled in it:
//
//	7.1 [a* b c] -> [a* b d], inactive, learners e, possible loss
func (s *State) drawStrong(primary SID, c *StrongConfig) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d.%d", c.Epoch, c.Incarnation)
	for i, set := range c.Sets {
		names := make([]string, len(set))
		for j, sid := range set {
			if names[j] = s.nodeName(sid); sid == primary {
				names[j] += "*"
			}
		}
		out.WriteString([]string{" [", " -> ["}[i] + strings.Join(names, " ") + "]")
	}
	if !c.Activated {
		out.WriteString(", inactive")
	}
	if len(c.Learners) > 0 {
		out.WriteString(", learners " + s.names(c.Learners))
	}
	if len(c.Lost) > 0 {
		out.WriteString(", lost " + s.names(c.Lost))
	}
	if c.PossibleLoss {
		out.WriteString(", possible loss")
	}
	return out.String()
}

func (s *State) drawStores(w *tabwriter.Writer) {
	heads, places := make(map[SID]int), make(map[SID]int)
	for p := range s.Partitions {
		for i, sid := range s.Partitions[p].Replicas {
			places[sid]++
			if i == 0 {
				heads[sid]++
			}
		}
	}
	for i := range s.Stores {
		st := &s.Stores[i]
		zone := st.Zone
		if zone == "" {
			zone = "-"
		}
		state := string(st.State)
		if !st.Successor.IsZero() {
			state += ", then " + st.Successor.Short()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\tboot %d\tvnodes %d\tplaces %d\n", st.Node, zone, state, st.Boot, heads[st.SID], places[st.SID])
	}
}

// PlanPicture draws a plan, one move a line.
func (s *State) PlanPicture(p Plan) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d moves at ring %d\n", len(p.Moves), p.Version)
	for _, m := range p.Moves {
		from, to := "nobody", "nobody"
		if !m.From.IsZero() {
			from = s.nodeName(m.From)
		}
		if !m.To.IsZero() {
			to = s.nodeName(m.To)
		}
		fmt.Fprintf(&out, "p%d epoch %d place %d: %s -> %s\n", m.Partition, m.Epoch, m.Position, from, to)
	}
	return out.String()
}

func (s *State) names(sids []SID) string {
	names := make([]string, len(sids))
	for i, sid := range sids {
		names[i] = s.nodeName(sid)
	}
	return strings.Join(names, " ")
}

func sortedKeys(buckets map[string]Bucket) []string {
	keys := make([]string, 0, len(buckets))
	for name := range buckets {
		keys = append(keys, name)
	}
	slices.Sort(keys)
	return keys
}

// trimLines drops the padding that the table writer leaves at line ends.
func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
