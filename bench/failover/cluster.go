package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/bench/servers"
)

const (
	poll      = 100 * time.Millisecond
	settledIn = 2 * time.Minute
)

// ring is what is needed of GET /v1/cluster/ring, with nodes as indices.
type ring struct {
	primaries []int // of each partition; -1: none
}

// settled waits until every partition of the strong bucket has an active primary and
// every node is up, as node from sees it.
func settled(ctx context.Context, q *servers.Quorate, from int) (r ring, err error) {
	for began := time.Now(); ; {
		if r, err = look(ctx, q, from); err == nil {
			return r, nil
		}
		if time.Since(began) > settledIn {
			return r, fmt.Errorf("not settled within %v: %w", settledIn, err)
		}
		if err := rest(ctx, poll); err != nil {
			return r, err
		}
	}
}

func look(ctx context.Context, q *servers.Quorate, from int) (r ring, err error) {
	var cluster struct {
		Nodes []struct {
			Name  string `json:"name"`
			Alive bool   `json:"alive"`
			State string `json:"state"`
		} `json:"nodes"`
		Strong struct {
			Partitions, Active int
		} `json:"strong"`
	}
	if err := get(ctx, q, from, "/v1/cluster", &cluster); err != nil {
		return r, err
	}
	for _, n := range cluster.Nodes {
		if !n.Alive || n.State != "up" {
			return r, fmt.Errorf("%s is %s, alive %t", n.Name, n.State, n.Alive)
		}
	}
	if cluster.Strong.Partitions == 0 || cluster.Strong.Active < cluster.Strong.Partitions {
		return r, fmt.Errorf("%d of %d partitions are active", cluster.Strong.Active, cluster.Strong.Partitions)
	}
	var doc struct {
		Partitions []struct {
			Primary string `json:"primary"`
		} `json:"partitions"`
		Nodes []struct {
			Name string `json:"name"`
			API  string `json:"api"`
		} `json:"nodes"`
	}
	if err := get(ctx, q, from, "/v1/cluster/ring", &doc); err != nil {
		return r, err
	}
	at := map[string]int{}
	for _, n := range doc.Nodes {
		at[n.Name] = slices.Index(q.Addrs(), strings.TrimPrefix(n.API, "http://"))
	}
	for _, p := range doc.Partitions {
		i, known := at[p.Primary]
		if !known {
			i = -1
		}
		r.primaries = append(r.primaries, i)
	}
	return r, nil
}

func get(ctx context.Context, q *servers.Quorate, i int, path string, into any) error {
	status, body, err := q.Get(ctx, i, path)
	if err != nil || status != 200 {
		return fmt.Errorf("%s of node %d: status %d: %w", path, i+1, status, err)
	}
	return json.Unmarshal(body, into)
}

// busiest is the node with the most primaries, which is to be killed next; of equals
// the one after the last.
func (r ring) busiest(nodes, last int) int {
	count := make([]int, nodes)
	for _, i := range r.primaries {
		if i >= 0 {
			count[i]++
		}
	}
	best := (last + 1) % nodes
	for n := range nodes {
		if i := (last + 1 + n) % nodes; count[i] > count[best] {
			best = i
		}
	}
	return best
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
