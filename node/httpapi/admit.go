package httpapi

import "github.com/quoratedb/quorate/node/core"

// enter admits a request, or lets it go on to read its body first. What is over
// the limit is refused before anything of the body is read.
func (c *call) enter() *fault {
	switch {
	case c.op.exempt:
		return nil
	case !c.op.hasBody:
		return c.admit()
	case c.a.inFlight.Load() >= int64(c.a.MaxInFlight):
		return c.full()
	}
	return nil
}

// admit takes one of the places of requests that are served.
func (c *call) admit() *fault {
	c.admitted = true
	if c.a.inFlight.Add(1) > int64(c.a.MaxInFlight) {
		return c.full()
	}
	return nil
}

func (c *call) full() *fault {
	c.a.metrics.shed.Inc()
	return refuse(codeOverloaded, "the node serves as many requests at a time as it may")
}

// queued sheds a request for a key whose shard has not kept up for a while: its
// queue would only grow, and everybody's time with it.
func (c *call) queued(req *core.Request) *fault {
	if c.a.b.Admit(req) {
		return nil
	}
	c.a.metrics.shed.Inc()
	return refuse(codeOverloaded, "requests wait too long for this shard")
}

// hold takes n bytes from the budget of request bodies until the call ends.
func (c *call) hold(n int64) *fault {
	c.held += n
	if c.a.bodyBytes.Add(n) > c.a.MaxBodyBytes {
		return refuse(codeOverloaded, "the node holds as many bytes of request bodies as it may")
	}
	return nil
}
