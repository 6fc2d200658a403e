package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

// A route says which server a request goes to. Option route:
//
//	fixed   a client keeps to one server (the default)
//	spread  any server, drawn for each request: what a load balancer does
//	owner   an owner of the key, drawn for each request, by quorate's ring
//	primary the primary of the key's partition, by the ring at the start
//
// Spread and owner use the same client, so that their difference is the route's.
type route struct {
	kind   string
	bucket string
	owners [][]int // of each partition, as indices of the addresses
}

const (
	routeSeed = 7                // of the draws; any constant will do
	ringMax   = 16 << 20         // bytes of a ring document
	ringWait  = 10 * time.Second // for it
)

func newRoute(addrs []string, o Opts) (route, error) {
	r := route{kind: o.or("route", "fixed"), bucket: o["bucket"]}
	switch r.kind {
	case "fixed", "spread":
		return r, nil
	case "owner", "primary":
		if r.bucket == "" {
			return r, fmt.Errorf("route=%s needs option bucket", r.kind)
		}
		var err error
		r.owners, err = fetchOwners(addrs, r.kind == "primary")
		return r, err
	}
	return r, fmt.Errorf("option route: %q is none of fixed, spread, owner, primary", r.kind)
}

func (r *route) pick(w *httpWorker, key []byte) int {
	switch r.kind {
	case "spread":
		return w.rng.IntN(len(w.conns))
	case "owner", "primary":
		own := r.owners[hashring.PartitionOf(hashring.Hash(r.bucket, key), len(r.owners))]
		return own[w.rng.IntN(len(own))]
	}
	return w.home
}

// ringDocument is what is needed of GET /v1/cluster/ring.
type ringDocument struct {
	Partitions []struct {
		Replicas []string `json:"replicas"`
		Primary  string   `json:"primary"`
	} `json:"partitions"`
	Nodes []struct {
		Name string `json:"name"`
		API  string `json:"api"`
	} `json:"nodes"`
}

func fetchOwners(addrs []string, primaries bool) ([][]int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), ringWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addrs[0]+"/v1/cluster/ring", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ring: %s", res.Status)
	}
	var doc ringDocument
	if err := json.NewDecoder(io.LimitReader(res.Body, ringMax)).Decode(&doc); err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	if primaries {
		for i := range doc.Partitions {
			doc.Partitions[i].Replicas = []string{doc.Partitions[i].Primary}
		}
	}
	return doc.owners(addrs)
}

func (doc ringDocument) owners(addrs []string) ([][]int, error) {
	at := map[string]int{}
	for _, n := range doc.Nodes {
		if i := slices.Index(addrs, strings.TrimPrefix(n.API, "http://")); i >= 0 {
			at[n.Name] = i
		}
	}
	var out [][]int
	for p, part := range doc.Partitions {
		var own []int
		for _, name := range part.Replicas {
			if i, ok := at[name]; ok {
				own = append(own, i)
			}
		}
		if len(own) == 0 {
			return nil, fmt.Errorf("ring: no owner of partition %d is among the addresses", p)
		}
		out = append(out, own)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("ring: no partitions")
	}
	return out, nil
}
