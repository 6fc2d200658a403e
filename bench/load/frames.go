package load

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/quoratedb/quorate/node/frames"
	"github.com/quoratedb/quorate/node/wire"
)

// framesDriver speaks quorate's frames: many workers share few connections, as the
// goroutines of one program do, and their requests are pipelined on them.
//
// Options: bucket; conns is the number of connections to each address (default 2).
type framesDriver struct {
	bucket string
	slots  []*framesSlot
}

func newFrames(addrs []string, o Opts) (Driver, error) {
	n, err := strconv.Atoi(o.or("conns", "2"))
	if err != nil || n < 1 {
		return nil, fmt.Errorf("option conns: %q is not a number above 0", o["conns"])
	}
	if o["bucket"] == "" {
		return nil, errors.New("driver frames needs option bucket")
	}
	d := &framesDriver{bucket: o["bucket"]}
	for range n {
		for _, a := range addrs {
			d.slots = append(d.slots, &framesSlot{addr: a})
		}
	}
	return d, nil
}

func (d *framesDriver) Close() {
	for _, s := range d.slots {
		s.drop(s.c)
	}
}

func (d *framesDriver) Worker(ctx context.Context, id int) (Worker, error) {
	w := &framesWorker{ctx: ctx, slot: d.slots[id%len(d.slots)], req: wire.ClientRequest{Bucket: d.bucket}}
	_, err := w.slot.conn(ctx)
	return w, err
}

// framesSlot is one connection, made when it is first needed and again after it broke.
type framesSlot struct {
	addr string
	mu   sync.Mutex
	c    *frames.Conn
}

func (s *framesSlot) conn(ctx context.Context) (*frames.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		c, err := frames.Dial(ctx, s.addr, frames.DialConfig{Name: "bench"})
		if err != nil {
			return nil, err
		}
		s.c = c
	}
	return s.c, nil
}

// drop ends a connection, unless another has taken its place already.
func (s *framesSlot) drop(c *frames.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c != nil && s.c == c {
		_ = c.Close() // it is of no more use, however it ends
		s.c = nil
	}
}

type framesWorker struct {
	ctx   context.Context
	slot  *framesSlot
	req   wire.ClientRequest
	reply wire.ClientReply
}

func (w *framesWorker) Close() {}

func (w *framesWorker) Put(key, val []byte) error {
	w.req.Op, w.req.Key, w.req.Value, w.req.W, w.req.R = wire.ClientPut, key, val, 2, 0
	return w.do()
}

func (w *framesWorker) Get(key []byte, stale bool) ([]byte, error) {
	w.req.Op, w.req.Key, w.req.Value, w.req.W, w.req.R = wire.ClientGet, key, nil, 0, 2
	if stale {
		w.req.R = 1
	}
	err := w.do()
	if w.reply.Code == "key_not_found" {
		return nil, nil
	}
	return w.reply.Value, err
}

// do leaves the verdict in reply.
func (w *framesWorker) do() error {
	w.reply = wire.ClientReply{}
	c, err := w.slot.conn(w.ctx)
	if err != nil {
		return err
	}
	if err := c.Do(w.ctx, &w.req, &w.reply); err != nil {
		if w.ctx.Err() == nil {
			w.slot.drop(c)
		}
		return err
	}
	switch {
	case w.reply.Code == "overloaded":
		return ErrShed
	case w.reply.Status < 200 || w.reply.Status > 299:
		return fmt.Errorf("status %d %s: %.*s", w.reply.Status, w.reply.Code, quoteMax, w.reply.Detail)
	}
	return nil
}
