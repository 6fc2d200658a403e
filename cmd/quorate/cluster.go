package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

type clusterDoc struct {
	RingVersion uint64            `json:"ring_version"`
	RaftLeader  string            `json:"raft_leader"`
	Nodes       []json.RawMessage `json:"nodes"`
	Partitions  struct {
		Total       int `json:"total"`
		OK          int `json:"ok"`
		Degraded    int `json:"degraded"`
		BelowQuorum int `json:"below_quorum"`
		Lost        int `json:"lost"`
	} `json:"partitions"`
	Strong *struct {
		Partitions int `json:"partitions"`
		Active     int `json:"active"`
		Inactive   []struct {
			ID      int    `json:"id"`
			Epoch   uint64 `json:"epoch"`
			Primary string `json:"primary"`
			Why     string `json:"why"`
		} `json:"inactive"`
	} `json:"strong"`
	Hints struct {
		Pending int64 `json:"pending"`
		Bytes   int64 `json:"bytes"`
	} `json:"hints"`
	Repair struct {
		DebtKeys int64 `json:"debt_keys"`
	} `json:"repair"`
	PossibleLoss *struct {
		Eventual []int `json:"eventual"`
		Strong   []int `json:"strong"`
	} `json:"possible_loss"`
	Testing []string `json:"testing"`
}

func newCluster(a *app) *cobra.Command {
	c := &cobra.Command{Use: "cluster", Short: "Show the state of the cluster on one screen", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		d, doc, err := a.clusterDoc(c.Context())
		if err != nil {
			return err
		}
		g, err := nodeGrid(d.Nodes)
		if err != nil {
			return err
		}
		return a.show(view{doc: doc, rows: items(d.Nodes), table: func() string { return d.head() + "\n" + g.String() + inactiveText(d.inactive()) }, raw: g.raw})
	}}
	a.clientFlags(c, asTable)
	return c
}

// clusterDoc asks a node for the state of the cluster, and gives it as it came too.
func (a *app) clusterDoc(ctx context.Context) (*clusterDoc, json.RawMessage, error) {
	r, err := a.ask(ctx, rest.Request{Method: http.MethodGet, Path: "/v1/cluster"})
	if err != nil {
		return nil, nil, err
	}
	var d clusterDoc
	doc, err := decode(r.Body, &d)
	return &d, doc, err
}

// inactive are the partitions without an active primary that the node lists.
func (d *clusterDoc) inactive() (out []inactive) {
	if d.Strong != nil {
		for _, p := range d.Strong.Inactive {
			out = append(out, inactive{p.ID, p.Epoch, p.Primary, p.Why})
		}
	}
	return out
}

func (d *clusterDoc) head() string {
	p := d.Partitions
	leader := d.RaftLeader
	if leader == "" {
		leader = "none"
	}
	g := grid{}
	g.add("ring version", d.RingVersion)
	g.add("raft leader", leader)
	g.add("partitions", fmt.Sprintf("%d: %d ok, %d degraded, %d below quorum, %d lost", p.Total, p.OK, p.Degraded, p.BelowQuorum, p.Lost))
	if d.Strong != nil && d.Strong.Partitions > 0 {
		g.add("primaries", fmt.Sprintf("%d: %d active, %d not", d.Strong.Partitions, d.Strong.Active, d.Strong.Partitions-d.Strong.Active))
	}
	if l := d.PossibleLoss; l != nil {
		g.add("possible loss", lossText(l.Eventual, "eventual")+lossText(l.Strong, "strong")+"given up by an operator")
	}
	g.add("hints", fmt.Sprintf("%d pending (%s)", d.Hints.Pending, bytesText(d.Hints.Bytes)))
	g.add("repair debt", fmt.Sprintf("%d keys", d.Repair.DebtKeys))
	if d.Testing != nil {
		g.add("testing is on", strings.Join(d.Testing, ", "))
	}
	return g.String()
}

// lossText names the partitions in which something was given up, the first of many.
func lossText(partitions []int, mode string) string {
	const most = 12
	if len(partitions) == 0 {
		return ""
	}
	out := fmt.Sprintf("%d partitions of %s buckets:", len(partitions), mode)
	for _, p := range partitions[:min(most, len(partitions))] {
		out += fmt.Sprintf(" %d", p)
	}
	if len(partitions) > most {
		out += " ..."
	}
	return out + "; "
}

type nodeRow struct {
	Name       string `json:"name"`
	State      string `json:"state"`
	Alive      *bool  `json:"alive"`
	Zone       string `json:"zone"`
	Version    string `json:"version"`
	API        string `json:"api"`
	Voter      bool   `json:"voter"`
	Partitions int    `json:"partitions"`
	Hints      uint64 `json:"hints"`
	Note       string `json:"note"`
}

// state is what Raft has, and gossip's opinion where it differs.
func (n *nodeRow) state() string {
	if n.Alive != nil && !*n.Alive {
		return n.State + ", unreachable"
	}
	return n.State
}

func nodeGrid(nodes []json.RawMessage) (*grid, error) {
	g := &grid{head: []string{"name", "state", "zone", "version", "partitions", "hints", "raft vote", "api", "note"}, nums: []int{5, 6}}
	for _, raw := range nodes {
		var n nodeRow
		if _, err := decode(raw, &n); err != nil {
			return nil, err
		}
		g.add(n.Name, n.state(), dash(n.Zone), dash(n.Version), n.Partitions, n.Hints, yes(n.Voter), dash(n.API), n.Note)
	}
	return g, nil
}

type partitionRow struct {
	ID       int      `json:"id"`
	Epoch    uint64   `json:"epoch"`
	Primary  string   `json:"primary"`
	Replicas []string `json:"replicas"`
}

func newRing(a *app) *cobra.Command {
	c := &cobra.Command{Use: "ring", Short: "Show which nodes own which partitions", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		r, err := a.ask(c.Context(), rest.Request{Method: http.MethodGet, Path: "/v1/cluster/ring"})
		if err != nil {
			return err
		}
		var d struct {
			RingVersion uint64            `json:"ring_version"`
			Partitions  []json.RawMessage `json:"partitions"`
		}
		doc, err := decode(r.Body, &d)
		if err != nil {
			return err
		}
		g := grid{head: []string{"partition", "epoch", "primary", "replicas"}, nums: []int{1, 2}}
		for _, raw := range d.Partitions {
			var p partitionRow
			if _, err := decode(raw, &p); err != nil {
				return err
			}
			g.add(p.ID, p.Epoch, dash(p.Primary), strings.Join(p.Replicas, " "))
		}
		return a.show(view{doc: doc, rows: items(d.Partitions), raw: g.raw,
			table: func() string { return fmt.Sprintf("ring version %d\n\n%s", d.RingVersion, g.String()) }})
	}}
	a.clientFlags(c, asTable)
	c.AddCommand(newLocate(a), newPrimaries(a), newMovePrimary(a), newRecover(a))
	return c
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func newLocate(a *app) *cobra.Command {
	var bucket string
	var key64 bool
	c := &cobra.Command{Use: "locate KEY", Short: "Show where a key lives", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		q := url.Values{"bucket": {bucket}, "key": {args[0]}}
		if key64 {
			q = url.Values{"bucket": {bucket}, "key64": {args[0]}}
		}
		r, err := a.ask(c.Context(), rest.Request{Method: http.MethodGet, Path: "/v1/cluster/locate", Query: q})
		if err != nil {
			return err
		}
		var d struct {
			Partition int      `json:"partition"`
			Epoch     uint64   `json:"epoch"`
			Primary   string   `json:"primary"`
			Replicas  []string `json:"replicas"`
			Fallbacks []string `json:"fallbacks"`
		}
		doc, err := decode(r.Body, &d)
		if err != nil {
			return err
		}
		g := grid{head: []string{"partition", "epoch", "primary", "replicas", "fallbacks"}, nums: []int{1, 2}}
		g.add(d.Partition, d.Epoch, dash(d.Primary), strings.Join(d.Replicas, " "), dash(strings.Join(d.Fallbacks, " ")))
		return a.show(view{doc: doc, table: g.String, raw: g.raw})
	}}
	c.Flags().StringVarP(&bucket, "bucket", "b", "default", "bucket")
	c.Flags().BoolVar(&key64, "key64", false, "KEY is base64url, for keys of any bytes")
	a.clientFlags(c, asTable)
	return c
}
