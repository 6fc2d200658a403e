package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/quoratedb/quorate/hashring"
)

const (
	// membersMax bounds the table, so that a forged stream of names cannot fill
	// the memory. Clusters are a handful of nodes.
	membersMax = 1024
	// goneKept is how long a dead or departed member stays in the view.
	goneKept = time.Hour
	// foreignEvery is how often one foreign cluster is named in the log.
	foreignEvery = time.Minute
	// foreignMax bounds the memory of what was logged.
	foreignMax = 64
)

// ErrForeign is a member of another cluster.
var ErrForeign = errors.New("member of another cluster")

// table is the truth that memberlist's callbacks write and views are built from.
// memberlist calls them under its own lock, so nothing here blocks or calls out:
// the mutex is held for map operations only.
type table struct {
	self    hashring.SID
	log     *slog.Logger
	changed chan<- struct{} // capacity 1

	mu       sync.Mutex
	own      Meta
	encoded  []byte // of own
	leaving  bool
	members  map[hashring.SID]entry
	named    map[hashring.ClusterID]time.Time // foreign clusters logged
	conflict time.Time                        // last conflict logged
}

type entry struct {
	Member
	leaving bool
	since   time.Time
}

func (t *table) setOwn(m Meta) (changed bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, err := m.encode(t.leaving)
	if err != nil {
		return false, err
	}
	changed = string(b) != string(t.encoded)
	t.own, t.encoded = m, b
	return changed, nil
}

func (t *table) setLeaving() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, err := t.own.encode(true)
	if err == nil {
		t.leaving, t.encoded = true, b
	}
	return err
}

func (t *table) poke() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// view builds the immutable picture and forgets who is long gone.
func (t *table) view(now time.Time) *View {
	t.mu.Lock()
	defer t.mu.Unlock()
	members := make([]Member, 0, len(t.members))
	for sid, e := range t.members {
		if e.State != Alive && now.Sub(e.since) > goneKept {
			delete(t.members, sid)
			continue
		}
		if foreign(t.own.Cluster, e.Cluster) {
			continue // taken in while this node had no cluster yet
		}
		members = append(members, e.Member)
	}
	return NewView(t.self, members)
}

func foreign(own, other hashring.ClusterID) bool {
	return !own.IsZero() && !other.IsZero() && own != other
}

// NodeMeta, NotifyMsg, GetBroadcasts, LocalState and MergeRemoteState are
// memberlist.Delegate: only the metadata is used.
func (t *table) NodeMeta(int) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.encoded
}
func (t *table) NotifyMsg([]byte)                {}
func (t *table) GetBroadcasts(int, int) [][]byte { return nil }
func (t *table) LocalState(bool) []byte          { return nil }
func (t *table) MergeRemoteState([]byte, bool)   {}

// NotifyAlive is memberlist.AliveDelegate: it keeps out what is not ours.
func (t *table) NotifyAlive(n *memberlist.Node) error {
	m, _, err := decodeMeta(n.Meta)
	if err != nil {
		return err
	}
	if n.Name != m.SID.String() {
		return fmt.Errorf("%w: member name %.64q is not its store id", ErrMeta, n.Name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if foreign(t.own.Cluster, m.Cluster) {
		return t.refuse(m, n.Address())
	}
	if _, known := t.members[m.SID]; !known && len(t.members) >= membersMax {
		return fmt.Errorf("more than %d members", membersMax)
	}
	return nil
}

// NotifyMerge is memberlist.MergeDelegate: a whole foreign cluster is turned away
// before any of it is taken in. A mixed list is sifted by NotifyAlive.
func (t *table) NotifyMerge(peers []*memberlist.Node) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var refused error
	for _, n := range peers {
		if n.State == memberlist.StateDead || n.State == memberlist.StateLeft {
			continue
		}
		m, _, err := decodeMeta(n.Meta)
		if err != nil {
			continue
		}
		if !foreign(t.own.Cluster, m.Cluster) {
			return nil
		}
		refused = t.refuse(m, n.Address())
	}
	return refused
}

// refuse names both clusters in the log, once per interval. mu is held.
func (t *table) refuse(m Meta, addr string) error {
	now := time.Now()
	if last, ok := t.named[m.Cluster]; !ok || now.Sub(last) >= foreignEvery {
		if len(t.named) >= foreignMax {
			clear(t.named)
		}
		t.named[m.Cluster] = now
		t.log.Warn("gossip refused a node of another cluster: check --join", "own_cluster", t.own.Cluster.String(),
			"other_cluster", m.Cluster.String(), "other_node", m.Node, "other_gossip", addr)
	}
	return fmt.Errorf("%w: own %s, theirs %s", ErrForeign, t.own.Cluster, m.Cluster)
}

// NotifyJoin, NotifyUpdate and NotifyLeave are memberlist.EventDelegate.
func (t *table) NotifyJoin(n *memberlist.Node)   { t.put(n, Alive) }
func (t *table) NotifyUpdate(n *memberlist.Node) { t.put(n, Alive) }
func (t *table) NotifyLeave(n *memberlist.Node)  { t.put(n, Dead) }

func (t *table) put(n *memberlist.Node, s State) {
	m, leaving, err := decodeMeta(n.Meta)
	if err != nil {
		return // NotifyAlive let nothing through that does not decode
	}
	if s == Dead && leaving {
		s = Left
	}
	t.mu.Lock()
	t.members[m.SID] = entry{Member: Member{Meta: m, Gossip: n.Address(), State: s}, leaving: leaving, since: time.Now()}
	t.mu.Unlock()
	t.poke()
}

// NotifyConflict is memberlist.ConflictDelegate: one store id at two addresses.
func (t *table) NotifyConflict(existing, other *memberlist.Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.conflict) >= foreignEvery {
		t.conflict = now
		t.log.Warn("gossip: one store id at two addresses; a copied data directory, or a restart at a new address",
			"sid", existing.Name, "at", existing.Address(), "also_at", other.Address())
	}
}
