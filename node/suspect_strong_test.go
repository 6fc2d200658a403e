package node

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/syndtr/goleveldb/leveldb"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/store"
)

// spoil flips a bit in each row of a kind, behind the store's back: the tables stay whole.
func (w *whole) spoil(kind store.Kind) {
	w.t.Helper()
	db, err := leveldb.OpenFile(filepath.Join(w.cfg.Data, "data"), nil)
	must(w.t, err)
	it := db.NewIterator(nil, nil)
	batch := new(leveldb.Batch)
	for it.Next() {
		if k, err := store.DecodeKey(it.Key()); err == nil && k.Kind == kind {
			v := append([]byte(nil), it.Value()...)
			v[len(v)/2] ^= 4
			batch.Put(it.Key(), v)
		}
	}
	it.Release()
	if batch.Len() == 0 {
		w.t.Fatalf("no rows of kind %d", kind)
	}
	must(w.t, errors.Join(it.Error(), db.Write(batch, nil), db.Close()))
}

// A store whose promises or logs of strong partitions cannot be read is replaced, however
// whole its tables are; what was acked is there all the while.
func TestUnreadableStrongRows(t *testing.T) {
	nodes := wholeClusterAt(t, 3, hashring.FeatureStrong)
	a, c := nodes[0], nodes[2]
	until(t, "a strong bucket", func() error {
		if status, text := ask(t, a.node, http.MethodPost, "/v1/buckets", []byte(`{"name":"s","mode":"strong"}`)); status > 201 {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
	for i := range 20 {
		until(t, "a write", func() error {
			return wantStatus(t, a.node, http.MethodPut, fmt.Sprintf("/v1/kv/s/k%d", i), []byte("v"), 204)
		})
	}
	for _, kind := range []store.Kind{store.KindHard, store.KindPack} {
		old := c.node.self
		c.stop()
		c.spoil(kind)
		c.start()
		var d *store.DamagedError
		c.again(&d)
		c.replaced(old, a)
		for i := range 20 {
			until(t, "a read", func() error { return wantStatus(t, a.node, http.MethodGet, fmt.Sprintf("/v1/kv/s/k%d", i), nil, 200) })
		}
		until(t, "c is a member again", func() error {
			for p := range a.node.ring.Load().Partitions {
				if s := a.node.ring.Load().Strong(uint32(p)); len(s.Sets) != 1 || !s.IsMember(c.node.self) || !s.Activated {
					return fmt.Errorf("partition %d", p)
				}
			}
			return nil
		})
	}
}
