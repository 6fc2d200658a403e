package gossip

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// join tries the --join addresses for ever: an address is left alone while a live
// member has it, or while it once led to members that are still there.
func (g *Gossip) join() {
	if len(g.cfg.Join) == 0 {
		close(g.tried)
		return
	}
	led := make([]bool, len(g.cfg.Join))
	wait := g.pace.joinFirst
	for round := 0; ; round++ {
		tried, failed := g.joinRound(led)
		if g.ctx.Err() != nil {
			return
		}
		if round == 0 {
			g.rebuild()
			close(g.tried)
		}
		if failed > 0 && g.View().Others() == 0 && wait == g.pace.joinMost {
			g.log.Info("no other node reached yet; --join addresses are tried on", "failed", failed, "of", len(g.cfg.Join))
		}
		if !g.wait(jitter(wait)) {
			return
		}
		if wait = min(2*wait, g.pace.joinMost); tried == 0 {
			wait = g.pace.joinMost
		}
	}
}

// joinRound tries all addresses at once, so that one black hole delays no other.
func (g *Gossip) joinRound(led []bool) (tried, failed int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	others := g.View().Others() > 0
	for i, addr := range g.cfg.Join {
		if led[i] && others {
			continue
		}
		wg.Go(func() {
			done, err := g.joinOne(addr)
			mu.Lock()
			defer mu.Unlock()
			if led[i] = done; !done {
				tried++
			}
			if err != nil {
				failed++
				g.log.Debug("gossip: join address not reached, will be tried again", "address", addr, "error", err)
			}
		})
	}
	wg.Wait()
	return tried, failed
}

// joinOne is true when the address needs no more trying: it is this node's own, a
// live member has it, or a member there answered.
func (g *Gossip) joinOne(addr string) (bool, error) {
	addrs, err := resolve(g.ctx, addr)
	if err != nil {
		return false, err
	}
	for _, a := range addrs {
		if isOwn(a, g.advertised, g.bound) || g.View().aliveAt(a.String()) {
			return true, nil
		}
	}
	for _, a := range addrs {
		if _, err = g.list.Join([]string{a.String()}); err == nil {
			g.log.Debug("gossip: joined", "address", addr)
			return true, nil
		}
	}
	if err == nil {
		err = errors.New("it has no address")
	}
	return false, oneLine(err)
}

// oneLine keeps memberlist's bulleted error lists out of the log's lines.
func oneLine(err error) error { return errors.New(strings.Join(strings.Fields(err.Error()), " ")) }

// rejoin heals long partitions: memberlist forgets the dead, so two halves that
// parted for long never look for each other again. Now and then it joins one ring
// member that is not seen alive.
func (g *Gossip) rejoin() {
	if g.cfg.Ring == nil {
		return
	}
	// Soon at first: a restart without --join addresses finds the others by this alone.
	for wait := g.pace.joinFirst; g.wait(jitter(wait)); wait = min(2*wait, g.pace.rejoinEvery) {
		g.table.poke() // lets views forget who is long gone
		var absent []string
		for _, addr := range g.cfg.Ring() {
			if ap, err := netip.ParseAddrPort(addr); err == nil && (isOwn(ap, g.advertised, g.bound) || g.View().aliveAt(ap.String())) {
				continue
			}
			if _, _, err := net.SplitHostPort(addr); err == nil {
				absent = append(absent, addr)
			}
		}
		if len(absent) == 0 {
			continue
		}
		addr := absent[rand.IntN(len(absent))]
		if _, err := g.joinOne(addr); err != nil {
			g.log.Debug("gossip: ring member not reached", "address", addr, "error", err)
		}
	}
}

// jitter spreads d by a fifth either way, so that nodes started together part.
func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5)
}
