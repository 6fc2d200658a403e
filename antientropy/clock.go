package antientropy

import "github.com/quoratedb/quorate/quorum/version"

// clockOf is an object without its values: what decides who lacks what.
func clockOf(o *version.Object) *version.Object {
	if o == nil {
		return nil
	}
	c := &version.Object{Context: o.Context, Siblings: make([]version.Sibling, len(o.Siblings))}
	for i := range o.Siblings {
		c.Siblings[i].Dot = o.Siblings[i].Dot
	}
	return c
}

func clockSize(o *version.Object) int { return 2 + 9*(len(o.Context)+len(o.Siblings)) }

// lacks tells whether joining theirs would change mine: a comparison of clocks, values
// are not looked at.
func lacks(mine, theirs *version.Object) bool {
	return theirs != nil && !version.Same(version.Join(mine, theirs), mine)
}
