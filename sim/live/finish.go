package live

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quoratedb/quorate/sim/check"
)

// finalState is what is left when all is healed and quiet.
type finalState struct {
	keys     []check.KeyRef
	values   map[check.KeyRef][]string            // as a read of all owners shows them
	replicas map[check.KeyRef]map[string][]string // by node: the version each owner holds
	took     time.Duration
}

func compareRef(a, b check.KeyRef) int {
	if c := strings.Compare(a.Bucket, b.Bucket); c != 0 {
		return c
	}
	return strings.Compare(a.Key, b.Key)
}

const (
	finishers    = 4                // keys at a time
	hintPatience = 45 * time.Second // hints are sent again every few seconds
)

// finish heals everything, waits until the nodes are ready and their hints delivered,
// reads every key twice from all owners, and goes on with those whose owners still
// differ, for as long as the patience lasts.
func (r *run) finish(ctx context.Context) *finalState {
	began := time.Now()
	r.say("healing everything")
	if r.cluster != nil {
		if err := r.cluster.heal(); err != nil {
			r.stuck = append(r.stuck, "healing: "+err.Error())
		}
	}
	if err := r.ready(ctx); err != nil {
		r.stuck = append(r.stuck, err.Error())
	}
	r.drain(ctx)
	st := &finalState{keys: r.book.keys(), values: map[check.KeyRef][]string{}, replicas: map[check.KeyRef]map[string][]string{}}
	r.say("reading %d keys twice from all owners", len(st.keys))
	deadline := time.Now().Add(quietPatience)
	open := st.keys
	for round := 1; len(open) > 0; round++ {
		differ := r.readAll(ctx, st, open, round)
		if round >= 2 {
			open = differ
		}
		if len(open) > 0 && (time.Now().After(deadline) || !rest(ctx, poll)) {
			r.stuck = append(r.stuck, fmt.Sprintf("%d keys were not read from all owners, or their owners differ, %v after healing; the first is %v", len(open), quietPatience, open[0]))
			break
		}
	}
	st.took = time.Since(began)
	return st
}

// drain waits until no hint is left. Hints that stay are no fault by themselves: the
// reads that follow must do without them.
func (r *run) drain(ctx context.Context) {
	var pending int64
	for deadline := time.Now().Add(hintPatience); time.Now().Before(deadline) && rest(ctx, poll); {
		a := send(ctx, r.http, r.servers[0], &request{method: http.MethodGet, path: "/v1/cluster", timeout: 2 * time.Second})
		var d struct {
			Hints struct {
				Pending int64 `json:"pending"`
			} `json:"hints"`
		}
		if a.outcome == check.OK && json.Unmarshal(a.body, &d) == nil {
			if pending = d.Hints.Pending; pending == 0 {
				return
			}
		}
	}
	r.say("%d hints are still pending after %v", pending, hintPatience)
}

// readAll reads and inspects keys, some at a time, and returns those that are not at
// rest.
func (r *run) readAll(ctx context.Context, st *finalState, keys []check.KeyRef, round int) (differ []check.KeyRef) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make(chan check.KeyRef)
	for i := range finishers {
		rng := rand.New(rand.NewPCG(r.o.Seed, 1000+uint64(round*finishers+i)))
		wg.Go(func() {
			for k := range next {
				values, ok := r.readFinal(ctx, k, rng)
				held, same := r.inspect(ctx, k, rng)
				mu.Lock()
				if ok {
					st.values[k] = values
				}
				if held != nil {
					st.replicas[k] = held
				}
				if !ok || !same {
					differ = append(differ, k)
				}
				mu.Unlock()
			}
		})
	}
	for _, k := range keys {
		if ctx.Err() == nil {
			next <- k
		}
	}
	close(next)
	wg.Wait()
	slices.SortFunc(differ, compareRef)
	return differ
}

// readFinal is a read of every owner, part of the history.
func (r *run) readFinal(ctx context.Context, k check.KeyRef, rng *rand.Rand) ([]string, bool) {
	s := r.servers[rng.IntN(len(r.servers))]
	op := check.Op{Kind: check.Read, Bucket: k.Bucket, Key: k.Key, Level: check.All, Node: s.name, Call: r.now()}
	q := request{method: http.MethodGet, path: keyPath(k), timeout: 4 * time.Second, query: url.Values{"consistency": {"all"}, "sloppy": {"false"}}}
	strong := r.mode(k.Bucket) == strongMode
	if strong {
		op.Level, q.query = check.Strict, levelQuery(rng.IntN(len(strongLevels)-1), rng)
	}
	if r.is(k.Bucket, counting) {
		op.Kind, q.path = check.Total, counterPath(k)
	}
	a := send(ctx, r.http, s, &q)
	op.Return, op.Outcome = r.now(), a.outcome
	if op.Kind == check.Total {
		op.Count, op.Version = a.count, a.version()
	} else {
		op.Read = r.names(k, s, a.values)
	}
	if strong {
		op.Version = a.version()
	}
	r.book.addRead(op, a.how)
	return op.Read, a.outcome == check.OK
}

// inspect asks what each owner holds; same when all answered alike.
func (r *run) inspect(ctx context.Context, k check.KeyRef, rng *rand.Rand) (held map[string][]string, same bool) {
	s := r.servers[rng.IntN(len(r.servers))]
	a := send(ctx, r.http, s, &request{method: http.MethodGet, path: "/v1/inspect/" + k.Bucket + "/" + url.PathEscape(k.Key), timeout: 4 * time.Second})
	var d struct {
		Replicas []struct {
			Node, Role, State, ETag string
		} `json:"replicas"`
	}
	if a.outcome != check.OK || json.Unmarshal(a.body, &d) != nil {
		return nil, false
	}
	held, same = map[string][]string{}, true
	first := ""
	for _, row := range d.Replicas {
		if row.Role != "owner" {
			continue
		}
		if row.State != "present" && row.State != "tombstone" && row.State != "absent" {
			same = false
			continue
		}
		version := row.ETag
		if version == "" {
			version = row.State
		}
		if len(held) == 0 {
			first = version
		}
		held[row.Node] = []string{version}
		same = same && version == first
	}
	return held, same && len(held) > 0
}
