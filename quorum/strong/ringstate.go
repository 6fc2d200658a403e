package strong

import "github.com/quoratedb/quorate/hashring"

// ConfigOf gives a partition's configuration as the ring state has it; false while the
// partition has none. Its slices are the state's: they are not written to.
func ConfigOf(p *hashring.Partition) (Config, bool) {
	c := p.Strong
	if c == nil {
		return Config{}, false
	}
	return Config{Epoch: c.Epoch, Incarnation: c.Incarnation, Primary: p.Primary, Sets: c.Sets, Activated: c.Activated, Learners: c.Learners}, true
}
