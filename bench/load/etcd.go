package load

import (
	"context"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// etcdDriver uses etcd's own gRPC client. Option conns is the number of clients for
// each endpoint (default 2), each bound to that endpoint: workers share connections,
// as an etcd application's goroutines would.
type etcdDriver struct {
	clients []*clientv3.Client
	seen    seen[int64] // revisions
}

func newEtcd(addrs []string, o Opts) (Driver, error) {
	n, err := strconv.Atoi(o.or("conns", "2"))
	if err != nil || n < 1 {
		return nil, fmt.Errorf("option conns: %q is not a number above 0", o["conns"])
	}
	d := &etcdDriver{}
	for range n {
		for _, a := range addrs {
			c, err := clientv3.New(clientv3.Config{Endpoints: []string{a}, DialTimeout: dialTimeout, Logger: zap.NewNop()})
			if err != nil {
				d.Close()
				return nil, fmt.Errorf("etcd at %s: %w", a, err)
			}
			d.clients = append(d.clients, c)
		}
	}
	return d, nil
}

func (d *etcdDriver) Close() {
	for _, c := range d.clients {
		c.Close()
	}
}

func (d *etcdDriver) Worker(ctx context.Context, id int) (Worker, error) {
	return etcdWorker{ctx, d.clients[id%len(d.clients)], &d.seen}, nil
}

type etcdWorker struct {
	ctx  context.Context
	c    *clientv3.Client
	seen *seen[int64]
}

func (w etcdWorker) Close() {}

func (w etcdWorker) Put(key, val []byte) error {
	_, err := w.c.Put(w.ctx, string(key), string(val))
	return err
}

// Get is linearizable; stale asks for a serializable read at the one endpoint.
func (w etcdWorker) Get(key []byte, stale bool) ([]byte, error) {
	var o []clientv3.OpOption
	if stale {
		o = append(o, clientv3.WithSerializable())
	}
	r, err := w.c.Get(w.ctx, string(key), o...)
	if err != nil || len(r.Kvs) == 0 {
		return nil, err
	}
	return r.Kvs[0].Value, nil
}

// Swap is a transaction: put if the key's revision is the one seen last, else get it.
func (w etcdWorker) Swap(key, val []byte) (refused bool, err error) {
	k := string(key)
	r, err := w.c.Txn(w.ctx).If(clientv3.Compare(clientv3.ModRevision(k), "=", w.seen.get(k))).
		Then(clientv3.OpPut(k, string(val))).Else(clientv3.OpGet(k)).Commit()
	if err != nil {
		return false, err
	}
	if r.Succeeded {
		w.seen.set(k, r.Header.Revision)
		return false, nil
	}
	now := int64(0)
	if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		now = kvs[0].ModRevision
	}
	w.seen.set(k, now)
	return true, nil
}
