package strong

import (
	"fmt"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// values keeps what a benchmark's replica has applied, and nothing durable.
type values map[string]*Value

func (v values) Stage(w Write) {
	if w.Kind == PutValue {
		v[string(w.Row.Key)] = w.Row.Value
	}
}
func (v values) Entry(uint64) (*Entry, error) { return nil, nil }
func (v values) Value(_ uint64, _ hashring.BucketID, key []byte) (*Value, error) {
	return v[string(key)], nil
}
func (v values) Completion(uint64, RequestID) (*Completion, error) { return nil, nil }

// trio are three replicas whose syncs are at once.
type trio struct {
	r   [3]*Replica
	seq uint64
	now Now

	staged, sends int
}

func newTrio(b testing.TB) *trio {
	t := &trio{now: Now{Mono: time.Second, WallMS: 1}}
	cfg := Config{Epoch: 1, Incarnation: 1, Sets: [][]hashring.SID{{{1}, {2}, {3}}}, Primary: hashring.SID{1}}
	for i := range t.r {
		r, err := New(hashring.SID{byte(i + 1)}, Options{}, values{}, Saved{}, 1, t.now)
		if err != nil {
			b.Fatal(err)
		}
		t.r[i] = r
	}
	for i := range t.r {
		t.step(i, func(r *Replica) { r.Configure(cfg) })
	}
	return t
}

// step runs a step and all that follows from it; it counts the replies.
func (t *trio) step(i int, do func(r *Replica)) (replies int) {
	t.seq++
	r := t.r[i]
	r.Begin(t.now, t.seq)
	do(r)
	out := r.Finish()
	replies = len(out.Replies)
	t.sends += len(out.Sends)
	if out.Staged {
		t.staged++
		seq := t.seq
		replies += t.step(i, func(r *Replica) { r.Synced(seq) })
	}
	for _, s := range out.Sends {
		replies += t.step(int(s.To[0])-1, func(to *Replica) { to.Receive(r.self, s.Msg) })
	}
	return replies
}

// One write at three replicas, all of the machine's work and none of the shard's:
// evaluated, replicated, committed and applied everywhere, 64 in a step.
func BenchmarkPut(b *testing.B) {
	t := newTrio(b)
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key%04d", i)
	}
	data := make([]byte, 100)
	b.ReportAllocs()
	n := 0
	for n < b.N {
		batch := min(64, b.N-n)
		got := t.step(0, func(r *Replica) {
			for range batch {
				r.Submit(&Op{Kind: OpPut, Bucket: 1, Key: keys[n%len(keys)], Data: data, Deadline: time.Hour})
				n++
			}
		})
		if got != batch {
			b.Fatalf("%d replies to %d writes", got, batch)
		}
	}
}

// One confirmed read, 64 in a round.
func BenchmarkLeaderRead(b *testing.B) {
	t := newTrio(b)
	t.step(0, func(r *Replica) {
		r.Submit(&Op{Kind: OpPut, Bucket: 1, Key: []byte("key"), Data: make([]byte, 100), Deadline: time.Hour})
	})
	q := &Read{Bucket: 1, Key: []byte("key"), Deadline: time.Hour}
	b.ReportAllocs()
	for n := 0; n < b.N; {
		batch := min(64, b.N-n)
		got := t.step(0, func(r *Replica) {
			for range batch {
				r.Read(q)
				n++
			}
		})
		if got != batch {
			b.Fatalf("%d replies to %d reads", got, batch)
		}
	}
}
