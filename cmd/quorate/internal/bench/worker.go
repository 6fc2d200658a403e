package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

// worker sends one operation at a time. Its fields are its own until it ended.
type worker struct {
	b           *Run
	rng         *rand.Rand
	choose      chooser
	cells       []cell // verify: the keys that only this worker writes
	read, write *hdr.Histogram
	notFound    uint64
	acked       uint64
	unknown     uint64
	stale       uint64
	faults      []Fault
}

func (w *worker) run(ctx context.Context) {
	for {
		due, ok := w.b.pace.next(ctx)
		if !ok {
			return
		}
		w.step(ctx, due)
	}
}

// step is one operation; ctx ended by the user cuts it short and counts it nowhere.
func (w *worker) step(ctx context.Context, due time.Time) {
	b := w.b
	i := w.choose.next(w.rng)
	read := w.rng.IntN(100) < b.o.ReadPercent
	opCtx, cancel := context.WithTimeout(ctx, b.o.OpTimeout)
	defer cancel()
	f := w.operate(opCtx, i, read)
	if f != nil {
		if ctx.Err() == nil {
			b.fail(f)
		}
		return
	}
	b.done.Add(1)
	if due.Before(b.warmEnd) {
		return
	}
	if read {
		record(w.read, time.Since(due))
	} else {
		record(w.write, time.Since(due))
	}
}

func (w *worker) operate(ctx context.Context, i int, read bool) *failure {
	switch {
	case w.cells != nil && read:
		return w.verifiedRead(ctx, &w.cells[i])
	case w.cells != nil:
		return w.verifiedWrite(ctx, &w.cells[i])
	case read:
		return w.plainRead(ctx, keyName(w.b.o.Prefix, i))
	}
	return w.plainWrite(ctx, keyName(w.b.o.Prefix, i))
}

func (w *worker) plainRead(ctx context.Context, key string) *failure {
	a, f := w.b.nodes.do(ctx, w.rng, w.b.get(key))
	if f == nil && a.status == http.StatusNotFound {
		w.notFound++
	}
	return f
}

func (w *worker) plainWrite(ctx context.Context, key string) *failure {
	_, f := w.b.nodes.do(ctx, w.rng, w.b.put(key, makeValue("plain", key, w.rng.Uint64N(1<<32), w.b.o.ValueSize), ""))
	return f
}

func (w *worker) verifiedRead(ctx context.Context, c *cell) *failure {
	a, f := w.b.nodes.do(ctx, w.rng, w.b.get(c.name))
	if f != nil {
		return f
	}
	if a.status == http.StatusNotFound {
		w.notFound++
	}
	read, err := w.b.check(c, a)
	switch {
	case err != nil:
		w.fault(Fault{Key: c.name, Kind: "wrong", Expected: c.acked, Got: read, Detail: err.Error()})
	case !c.settled(c.acked, read):
		w.stale++
		if w.b.strict {
			w.fault(Fault{Key: c.name, Kind: "stale", Expected: c.acked, Got: read, Detail: "read during the run"})
		}
	default:
		c.learn(a.context, read)
	}
	return nil
}

func (w *worker) verifiedWrite(ctx context.Context, c *cell) *failure {
	switch {
	case w.b.nodes.versions:
		return w.writeVersion(ctx, c)
	case c.context == "":
		return w.writeFirst(ctx, c)
	}
	c.attempt++
	a, f := w.b.nodes.do(ctx, w.rng, w.b.put(c.name, makeValue(w.b.id, c.name, c.attempt, w.b.o.ValueSize), c.context))
	return w.settle(c, a, f)
}

// writeFirst writes a key that no context is known of. Such a write replaces what its
// coordinator holds, so one that got lost on the way and acts late could replace what
// was acknowledged after it, and rightly so. Therefore it is never repeated: the key
// is given up and another one takes its place.
func (w *worker) writeFirst(ctx context.Context, c *cell) *failure {
	base := c.name
	for {
		c.attempt++
		k := w.b.put(c.name, makeValue(w.b.id, c.name, c.attempt, w.b.o.ValueSize), "")
		k.once = true
		a, f := w.b.nodes.do(ctx, w.rng, k)
		if f == nil || !f.unknown || ctx.Err() != nil {
			if f != nil && f.unknown {
				w.rename(c, base)
			}
			return w.settle(c, a, f)
		}
		w.b.tries.add(f.reason)
		w.rename(c, base)
		if !sleep(ctx, backoffMin) {
			return f
		}
	}
}

func (w *worker) rename(c *cell, base string) {
	w.unknown++
	*c = cell{name: base + "." + strconv.Itoa(c.renamed+1), renamed: c.renamed + 1}
}

func (w *worker) settle(c *cell, a *answer, f *failure) *failure {
	if f != nil {
		if f.unknown {
			w.unknown++
		}
		return f
	}
	w.acked++
	c.acked = c.attempt
	if a.context == "" {
		return &failure{reason: "ack_without_context", err: errors.New("an acknowledgement must carry Quorate-Context, and ETag in a strong bucket")}
	}
	c.context = a.context
	return nil
}

func (w *worker) fault(f Fault) {
	if len(w.faults) < listMax {
		w.faults = append(w.faults, f)
	}
	w.b.faults.Add(1)
}

func (b *Run) get(key string) *call {
	return &call{method: http.MethodGet, path: b.prefix + key, query: b.readQuery}
}

func (b *Run) put(key string, value []byte, context string) *call {
	return &call{method: http.MethodPut, path: b.prefix + key, query: b.writeQuery, body: value, context: context,
		idem: rest.NewIdempotencyKey(time.Now())}
}
