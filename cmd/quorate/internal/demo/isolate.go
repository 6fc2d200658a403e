package demo

import "github.com/quoratedb/quorate/sim/live"

const linksNote = "The nodes run with QUORATE_TESTING=1: what they say to each other passes through this\nprocess, so that a node can be isolated. /v1/cluster shows it."

// openLinks puts this process between the nodes, and tells them.
func (d *demo) openLinks() error {
	var ends []live.Endpoint
	for _, p := range d.plans {
		ends = append(ends, live.Endpoint{Gossip: p.gossip, Peer: p.peer})
	}
	links, err := live.NewLinks(ends)
	if err != nil {
		return err
	}
	for i := range d.plans {
		d.plans[i].extra = links.Arguments(i)
	}
	d.o.Env = append(append([]string(nil), d.o.Env...), live.TestingEnv)
	d.links, d.alone = links, map[int]bool{}
	return nil
}

// isolate cuts one node off, or heals it.
func (d *demo) isolate(a Action, node int) {
	name := d.plans[node].name
	if d.links == nil {
		d.say.line("%s %s: the nodes talk to each other directly; start the demo with --isolation or fewer nodes", a, name)
		return
	}
	d.alone[node] = a == Isolate
	d.links.Isolate(d.alone)
	d.say.line("%s %s: done", a, name)
}
