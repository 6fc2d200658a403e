package hashring

import "slices"

// Strong is the configuration of strong mode that p has; nil while there is none.
// Shared: do not write to it.
func (r *Ring) Strong(p uint32) *StrongConfig {
	if int(p) >= len(r.Partitions) {
		return nil
	}
	return r.Partitions[p].Strong
}

// StrongPrimary is the store that orders the strong writes of p in Strong(p).Epoch,
// activated or not; zero while there is none.
func (r *Ring) StrongPrimary(p uint32) SID {
	if r.Strong(p) == nil {
		return SID{}
	}
	return r.Partitions[p].Primary
}

// StrongMembers are the stores of all sets of p, once each. Shared: do not write to it.
func (r *Ring) StrongMembers(p uint32) []SID {
	c := r.Strong(p)
	switch {
	case c == nil:
		return nil
	case len(c.Sets) == 1:
		return c.Sets[0]
	}
	return r.joint[p]
}

// HasStrong tells that partitions have a Strong part: there is or was a strong bucket.
func (r *Ring) HasStrong() bool { return len(r.Partitions) > 0 && r.Partitions[0].Strong != nil }

// IsStrong tells whether id is a strong bucket's; false for an unknown one.
func (r *Ring) IsStrong(id BucketID) bool {
	b, ok := r.ids[id]
	return ok && b.Mode == Strong
}

// Members are the stores of all sets, once each, in order.
func (c *StrongConfig) Members() []SID {
	if len(c.Sets) == 1 {
		return c.Sets[0]
	}
	var out []SID
	for _, set := range c.Sets {
		for _, sid := range set {
			if !slices.Contains(out, sid) {
				out = append(out, sid)
			}
		}
	}
	return out
}

// IsMember tells whether sid is in a set.
func (c *StrongConfig) IsMember(sid SID) bool {
	return slices.ContainsFunc(c.Sets, func(set []SID) bool { return slices.Contains(set, sid) })
}

// Holds tells whether sid gets the log: a member or a learner.
func (c *StrongConfig) Holds(sid SID) bool {
	return c.IsMember(sid) || slices.Contains(c.Learners, sid)
}
