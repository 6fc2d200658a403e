package node

import (
	"context"
	"sync"

	"github.com/quoratedb/quorate/gossip"
	"github.com/quoratedb/quorate/hashring"
)

// toldMax bounds the memory of who has which state: stores come and go.
const toldMax = 2 * hashring.MaxStores

// pusher brings the newest ring state to every live node: each node gets one state
// after the other, the newest at that time, and none waits for another.
type pusher struct {
	signal chan struct{}
	mu     sync.Mutex
	busy   map[hashring.SID]bool   // a push is on its way there
	told   map[hashring.SID]uint64 // version that it is known to have
	wg     sync.WaitGroup
}

func newPusher() *pusher {
	return &pusher{signal: make(chan struct{}, 1), busy: map[hashring.SID]bool{}, told: map[hashring.SID]uint64{}}
}

func (p *pusher) wake() {
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

// claim takes the right to push version v to a store, when that has an older one.
func (p *pusher) claim(sid hashring.SID, v uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy[sid] || p.told[sid] >= v {
		return false
	}
	p.busy[sid] = true
	return true
}

func (p *pusher) done(sid hashring.SID, v uint64, err error) {
	p.mu.Lock()
	delete(p.busy, sid)
	if err == nil {
		if len(p.told) >= toldMax {
			clear(p.told) // at worst a state goes out twice
		}
		p.told[sid] = max(p.told[sid], v)
	}
	p.mu.Unlock()
}

// pushLoop sends states that the judge has had committed. Whoever misses one hears of
// it by gossip, or in a message.
func (l *lifecycle) pushLoop(ctx context.Context) {
	defer l.pusher.wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.pusher.signal:
		}
		r := l.ring.Load()
		if r == nil {
			continue
		}
		b, err := hashring.EncodeState(r.State)
		if err != nil {
			l.log.Error("ring state not pushed", "error", err)
			continue
		}
		for _, m := range l.parts.Load().gossip.View().Members {
			if m.State != gossip.Alive || m.SID == l.self || m.SID == l.guise || m.Cluster.IsZero() || !l.pusher.claim(m.SID, r.Version) {
				continue
			}
			l.pusher.wg.Go(func() {
				var out ringAnswer
				err := l.pushTo(ctx, &m, b, &out)
				l.pusher.done(m.SID, max(r.Version, out.Version), err)
				if l.version() > r.Version {
					l.pusher.wake() // newer ones have gathered
				}
			})
		}
	}
}

func (l *lifecycle) pushTo(ctx context.Context, m *gossip.Member, state []byte, out *ringAnswer) error {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Times.Push)
	defer cancel()
	err := l.ask(ctx, m.Peer, methodRingPush, ringPush{head{lifeFormat}, state}, out)
	if err != nil {
		l.log.Debug("ring state not pushed", "to", m.Node, "error", err)
	}
	return err
}
