package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/quoratedb/quorate/bench/load"
	"github.com/quoratedb/quorate/bench/servers"
)

// rowKey is what a record's key adds to its encoded size, beside the value and what
// the object has around it: partition, kind, bucket and the client's key.
const rowKey = 4 + 1 + 8 + 20

// emptied takes one node's data directory away.
func emptied(ctx context.Context, b *bench) error {
	q, err := b.start(ctx, "emptied", 5, true)
	if err != nil {
		return err
	}
	defer q.Stop()
	if _, err = b.fill(ctx, q, b.o.keys); err != nil {
		return err
	}
	const lost = 4
	had, err := scrape(ctx, q, lost)
	if err != nil {
		return err
	}
	q.Kill(lost)
	if err := os.RemoveAll(q.Data(lost)); err != nil {
		return err
	}
	before, err := sumOf(ctx, q, lost)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := q.Restart(ctx, lost); err != nil {
		return err
	}
	if _, err := whole(ctx, q, b.o.keys); err != nil {
		return err
	}
	took := time.Since(began)
	after, err := sum(ctx, q)
	if err != nil {
		return err
	}
	missing := had.must("record_bytes") + rowKey*had.must("keys")
	shipped := after.must("exchange_sent_bytes_total") - before.must("exchange_sent_bytes_total")
	b.rep.add(figure{"bytes shipped for each byte missing, one of five replicas emptied", shipped / missing, "x", 1.2,
		fmt.Sprintf("%d keys, %.0f of them on the node; whole %.0f s after its start; messages with hashes, of both ends", b.o.keys, had.must("keys"), took.Seconds())})
	return nil
}

// spread has some keys differ that no hint knows of: with three nodes nobody can stand in.
func spread(ctx context.Context, b *bench) error {
	q, err := b.start(ctx, "spread", 3, false)
	if err != nil {
		return err
	}
	defer q.Stop()
	ks, err := b.fill(ctx, q, b.o.keys)
	if err != nil {
		return err
	}
	const away = 2
	q.Kill(away)
	if err := overwrite(ctx, q, ks, b.o); err != nil {
		return err
	}
	before, err := sumOf(ctx, q, away)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := q.Restart(ctx, away); err != nil {
		return err
	}
	after, at, err := settled(ctx, q, func(m metrics) bool { return m.must("exchange_keys_merged_total") >= float64(b.o.differ)*9/10 })
	if err != nil {
		return err
	}
	took := at.Sub(began)
	store := after.must("record_bytes") + (rowKey+leafRow)*after.must("keys")
	read := after.must("exchange_read_bytes_total") - before.must("exchange_read_bytes_total")
	b.rep.add(figure{fmt.Sprintf("bytes read to repair %d differing keys of %d, as a part of the stores'", b.o.differ, b.o.keys), 100 * read / store, "%", 5,
		fmt.Sprintf("three nodes, both ends counted, rows and records as they are encoded, index included; %.0f s after the start of the node that was away", took.Seconds())})
	return nil
}

// leafRow is what a key adds to the leaf index.
const leafRow = 4 + 1 + 2 + 8 + 8 + 20

// overwrite writes keys spread evenly, whose places in the trees are random.
func overwrite(ctx context.Context, q *servers.Quorate, ks *load.Keyspace, o options) error {
	d, err := load.Open("frames", q.FrameAddrs()[:2], load.Opts{"bucket": bucket})
	if err != nil {
		return err
	}
	defer d.Close()
	w, err := d.Worker(ctx, 0)
	if err != nil {
		return err
	}
	defer w.Close()
	for n := range o.differ {
		key := ks.Key(n*(o.keys/o.differ), o.value)
		val := append(make([]byte, 0, o.value), key...)
		for len(val) < o.value {
			val = append(val, '!')
		}
		for try := 0; ; try++ {
			if err = w.Put(key, val); err == nil || try == 50 {
				break
			}
			if err := rest(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
		if err != nil {
			return fmt.Errorf("key %d: %w", n, err)
		}
	}
	return nil
}

// steady is for how long nothing must be owed before it is believed: a node that has
// just come back does not know yet what it lacks.
const steady = 3 * time.Second

// settled waits until nothing is owed and returns when that began.
func settled(ctx context.Context, q *servers.Quorate, until func(metrics) bool) (metrics, time.Time, error) {
	var since time.Time
	for began := time.Now(); ; {
		m, err := sum(ctx, q)
		switch {
		case err != nil || m.must("repair_wanted") > 0 || m.must("repair_debt_keys") > 0 || m.must("hints") > 0 || m.must("repair_debt_partitions") > 0 || !until(m):
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > steady:
			return m, since, nil
		}
		if time.Since(began) > wholeIn {
			return nil, since, fmt.Errorf("not settled within %v: %v hints, %v keys owed, %v exchanges wanted (%w)", wholeIn, m["hints"], m["repair_debt_keys"], m["repair_wanted"], err)
		}
		if err := rest(ctx, poll); err != nil {
			return nil, since, err
		}
	}
}
