package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// A Ledger remembers which writes were acknowledged, to read them back when the load
// is over. Each key has one writer, which numbers its writes within the value, so a
// value read back tells which write it is.
//
// A write that failed without being shed may have taken effect, then or later; to find
// it in place of an acknowledged one is no loss.
type Ledger struct{ pages []*page }

// page is one worker's part; a nil page does nothing.
type page struct {
	id, workers, keys int
	seq               uint64 // of the last write, over all keys
	acked             map[int]uint64
	unknown           map[int][]uint64
}

const (
	seqLen        = 16 // hex digits after the key
	verifyWorkers = 64
	verifyTries   = 5 // reads of one key before it counts as unread
)

// page is worker id's part; nil without a ledger.
func (l *Ledger) page(id int) *page {
	if l == nil {
		return nil
	}
	return l.pages[id]
}

// open makes the pages of a run and forgets those of the last one.
func (l *Ledger) open(p Phase, keys int) error {
	if l == nil {
		return nil
	}
	if p.reads > 0 || p.Mode == "load" || p.swaps() || p.Workers > keys || p.Value < keyLen+seqLen {
		return fmt.Errorf("phase %s: a ledger needs writes only, a key for each of its workers and values of %d bytes or more", p, keyLen+seqLen)
	}
	workers := p.Workers
	l.pages = nil
	for id := range workers {
		l.pages = append(l.pages, &page{id: id, workers: workers, keys: keys, acked: map[int]uint64{}, unknown: map[int][]uint64{}})
	}
	return nil
}

// own turns a key number into one near it that only this worker writes.
func (p *page) own(n int) int {
	if p == nil {
		return n
	}
	n += p.id - n%p.workers
	if n >= p.keys {
		n -= p.workers
	}
	return n
}

// stamp numbers the write: the number follows the key in the value.
func (p *page) stamp(val []byte) {
	if p == nil {
		return
	}
	p.seq++
	copy(val[keyLen:], fmt.Appendf(nil, "%0*x", seqLen, p.seq))
}

// settle notes how the write last stamped ended.
func (p *page) settle(n int, err error) {
	switch {
	case p == nil || errors.Is(err, ErrShed):
	case err != nil:
		p.unknown[n] = append(p.unknown[n], p.seq)
	default:
		p.acked[n] = p.seq
	}
}

// lost tells whether val is older than the last acknowledged write of key n.
func (p *page) lost(n int, val []byte) bool {
	if len(val) < keyLen+seqLen {
		return true
	}
	seq, err := strconv.ParseUint(string(val[keyLen:keyLen+seqLen]), 16, 64)
	return err != nil || seq < p.acked[n] && !slices.Contains(p.unknown[n], seq)
}

// verify reads every acknowledged write back, through workers of its own, and enters
// what it found into r.
func (l *Ledger) verify(ctx context.Context, d Driver, ks *Keyspace, valueBytes int, r *Result) error {
	type entry struct {
		p *page
		n int
	}
	var all []entry
	for _, p := range l.pages {
		for n := range p.acked {
			all = append(all, entry{p, n})
		}
	}
	var next, lost, unread atomic.Int64
	var wg sync.WaitGroup
	for id := range verifyWorkers {
		w, err := d.Worker(ctx, id)
		if err != nil {
			wg.Wait()
			return fmt.Errorf("read back: %w", err)
		}
		wg.Go(func() {
			defer w.Close()
			for i := next.Add(1) - 1; i < int64(len(all)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				e := all[i]
				key := ks.Key(e.n, valueBytes)
				val, err := readBack(ctx, w, key)
				switch {
				case err != nil:
					unread.Add(1)
				case !bytes.HasPrefix(val, key) || e.p.lost(e.n, val):
					lost.Add(1)
				}
			}
		})
	}
	wg.Wait()
	r.Acked, r.Lost, r.Unread = len(all), int(lost.Load()), int(unread.Load())
	return ctx.Err()
}

func readBack(ctx context.Context, w Worker, key []byte) (val []byte, err error) {
	for range verifyTries {
		if val, err = w.Get(key, false); err == nil {
			return val, nil
		}
		if stopped := sleep(ctx, retryPause); stopped != nil {
			return nil, stopped
		}
	}
	return nil, err
}
