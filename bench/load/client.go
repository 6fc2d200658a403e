package load

import (
	"context"
	"errors"
	"fmt"

	"github.com/quoratedb/quorate/client"
)

// clientDriver uses quorate's own Go client, one for all workers, as the goroutines of
// an application share it: with its retries, its hedged reads and its ring.
//
// Options: bucket; transport=http|frames; route=owner sends a request to an owner of
// its key by the client's ring, route=spread to any of the addresses, as through a
// load balancer (the client's option NoOwnerRouting).
type clientDriver struct {
	c *client.Client
	b *client.Bucket
}

func newClient(addrs []string, o Opts) (Driver, error) {
	cfg := client.Config{Endpoints: addrs}
	if o["bucket"] == "" {
		return nil, errors.New("driver client needs option bucket")
	}
	switch t := o.or("transport", "http"); t {
	case "http":
	case "frames":
		cfg.Transport = client.Frames
	default:
		return nil, fmt.Errorf("option transport: %q is neither http nor frames", t)
	}
	switch r := o.or("route", "owner"); r {
	case "owner":
	case "spread":
		cfg.NoOwnerRouting = true
	default:
		return nil, fmt.Errorf("option route: %q is neither owner nor spread", r)
	}
	c, err := client.New(cfg)
	if err != nil {
		return nil, err
	}
	return &clientDriver{c: c, b: c.Bucket(o["bucket"])}, nil
}

func (d *clientDriver) Close() { _ = d.c.Close() } // it has no failure to tell

func (d *clientDriver) Worker(ctx context.Context, _ int) (Worker, error) {
	return clientWorker{ctx, d.b}, nil
}

type clientWorker struct {
	ctx context.Context
	b   *client.Bucket
}

func (w clientWorker) Close() {}

func (w clientWorker) Put(key, val []byte) error {
	_, err := w.b.Put(w.ctx, string(key), val, client.W(2))
	return shedOr(err)
}

// Get is a quorum read; stale asks for one replica.
func (w clientWorker) Get(key []byte, stale bool) ([]byte, error) {
	r := 2
	if stale {
		r = 1
	}
	v, err := w.b.Get(w.ctx, string(key), client.R(r), client.Newest())
	switch {
	case errors.Is(err, client.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, shedOr(err)
	}
	return v.Data, nil
}

func shedOr(err error) error {
	if errors.Is(err, client.ErrOverloaded) {
		return ErrShed
	}
	return err
}
