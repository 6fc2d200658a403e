package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

func newRepair(a *app) *cobra.Command {
	return group("repair", "Show how far replicas are alike, and what is on its way", newRepairStatus(a), newRepairStart(a), newRepairHints(a), newRepairForceFull(a))
}

type repairDoc struct {
	DebtKeys   uint64            `json:"debt_keys"`
	BehindMS   int64             `json:"behind_ms"`
	Partitions int               `json:"partitions"`
	InSync     int               `json:"in_sync"`
	Running    int               `json:"running"`
	Tombstones uint64            `json:"tombstones"`
	Nodes      []json.RawMessage `json:"nodes"`
}

type repairNode struct {
	Node          string        `json:"node"`
	Answered      bool          `json:"answered"`
	RateBytes     int64         `json:"rate_bytes"`
	Partitions    int           `json:"partitions"`
	InSync        int           `json:"in_sync"`
	DebtKeys      uint64        `json:"debt_keys"`
	BehindMS      int64         `json:"behind_ms"`
	Running       int           `json:"running"`
	Tombstones    uint64        `json:"tombstones"`
	Pairs         []repairPair  `json:"pairs"`
	OmittedPairs  int           `json:"omitted_pairs"`
	Purges        []repairPurge `json:"purges"`
	OmittedPurges int           `json:"omitted_purges"`
}

type repairPair struct {
	Partition int    `json:"partition"`
	N         int    `json:"n"`
	Peer      string `json:"peer"`
	State     string `json:"state"`
	Doing     string `json:"doing"`
	Building  bool   `json:"building"`
	Dirty     bool   `json:"dirty"`
	Never     bool   `json:"never"`
	Keys      uint64 `json:"keys"`
	BehindMS  int64  `json:"behind_ms"`
	Sent      uint64 `json:"sent"`
	Received  uint64 `json:"received"`
}

type repairPurge struct {
	Partition  int    `json:"partition"`
	Tombstones uint64 `json:"tombstones"`
	Expiring   uint64 `json:"expiring"`
	Phase      string `json:"phase"`
	Blocked    string `json:"blocked"`
	By         string `json:"by"`
	Count      uint64 `json:"count"`
	ForMS      int64  `json:"for_ms"`
}

func newRepairStatus(a *app) *cobra.Command {
	c := &cobra.Command{Use: "status", Short: "Show what differs between replicas, and what purges of deleted keys wait for", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.ask(c.Context(), rest.Request{Method: http.MethodGet, Path: "/v1/repair"})
			if err != nil {
				return err
			}
			var d repairDoc
			doc, err := decode(r.Body, &d)
			if err != nil {
				return err
			}
			nodes := make([]repairNode, len(d.Nodes))
			for i := range nodes {
				if _, err := decode(d.Nodes[i], &nodes[i]); err != nil {
					return err
				}
			}
			g := repairNodes(nodes)
			return a.show(view{doc: doc, rows: items(d.Nodes), raw: g.raw, table: func() string { return d.head() + "\n" + g.String() + repairRows(nodes) }})
		}}
	a.clientFlags(c, asTable)
	return c
}

func (d *repairDoc) head() string {
	g := grid{}
	g.add("in sync", progress(d.InSync, d.Partitions))
	g.add("repair debt", fmt.Sprintf("about %d keys", d.DebtKeys))
	g.add("behind", "at most "+ago(d.BehindMS))
	g.add("comparisons", fmt.Sprintf("%d running", d.Running))
	g.add("waiting tombstones", d.Tombstones)
	return g.String()
}

// progress is a count with its share.
func progress(done, of int) string {
	if of == 0 {
		return "no partition is compared"
	}
	return fmt.Sprintf("%d of %d partitions (%d %%)", done, of, done*100/of)
}

// ago is a length of time as people say it.
func ago(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

func repairNodes(nodes []repairNode) *grid {
	g := &grid{head: []string{"node", "in sync", "debt keys", "behind", "running", "bytes/s", "tombstones", "note"}, nums: []int{3, 4, 5, 6, 7}}
	for i := range nodes {
		n := &nodes[i]
		if !n.Answered {
			g.add(n.Node, "-", "-", "-", "-", "-", "-", "did not answer")
			continue
		}
		g.add(n.Node, fmt.Sprintf("%d/%d", n.InSync, n.Partitions), n.DebtKeys, ago(n.BehindMS), n.Running, n.RateBytes, n.Tombstones, n.omitted())
	}
	return g
}

func (n *repairNode) omitted() string {
	var out []string
	if n.OmittedPairs > 0 {
		out = append(out, fmt.Sprintf("%d more pairs", n.OmittedPairs))
	}
	if n.OmittedPurges > 0 {
		out = append(out, fmt.Sprintf("%d more purges", n.OmittedPurges))
	}
	return strings.Join(out, ", ")
}

// repairRows are the pairs that are not known to be alike, and the purges, if any.
func repairRows(nodes []repairNode) string {
	pairs := grid{head: []string{"node", "peer", "partition", "n", "state", "keys", "behind", "sent", "received", "note"}, nums: []int{3, 4, 6, 7, 8, 9}}
	purges := grid{head: []string{"node", "partition", "tombstones", "expiring", "purge", "waits for", "since"}, nums: []int{2, 3, 4}}
	some, any := false, false
	for i := range nodes {
		n := &nodes[i]
		for j := range n.Pairs {
			p := &n.Pairs[j]
			some = true
			pairs.add(n.Node, p.Peer, p.Partition, p.N, p.state(), p.Keys, ago(p.BehindMS), p.Sent, p.Received, p.note())
		}
		for j := range n.Purges {
			p := &n.Purges[j]
			any = true
			purges.add(n.Node, p.Partition, p.Tombstones, p.Expiring, dash(p.Phase), dash(p.waits()), p.since())
		}
	}
	out := ""
	if some {
		out += "\n" + pairs.String()
	}
	if any {
		out += "\n" + purges.String()
	}
	return out
}

func (p *repairPair) state() string {
	if p.Doing != "" {
		return p.State + ": " + p.Doing
	}
	return p.State
}

func (p *repairPair) note() string {
	var out []string
	for _, x := range []struct {
		is   bool
		what string
	}{{p.Building, "is being filled"}, {p.Dirty, "to be compared in full"}, {p.Never, "not compared since the start"}} {
		if x.is {
			out = append(out, x.what)
		}
	}
	return strings.Join(out, ", ")
}

func (p *repairPurge) waits() string {
	out := p.Blocked
	if p.Count > 0 {
		out += fmt.Sprintf(" (%d)", p.Count)
	}
	if p.By != "" {
		out += " at " + p.By
	}
	return out
}

func (p *repairPurge) since() string {
	if p.Blocked == "" {
		return "-"
	}
	return ago(p.ForMS)
}

func newRepairStart(a *app) *cobra.Command {
	partition := -1
	c := &cobra.Command{Use: "start", Short: "Compare replicas now, beside what goes on anyway", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		req := rest.Request{Method: http.MethodPost, Path: "/v1/repair", Write: true, Repeat: true}
		if c.Flags().Changed("partition") {
			req.Body, req.Header = []byte(`{"partition":`+strconv.Itoa(partition)+`}`), http.Header{"Content-Type": {"application/json"}}
		}
		r, err := a.ask(c.Context(), req)
		if err != nil {
			return err
		}
		var d struct {
			Asked []json.RawMessage `json:"asked"`
		}
		doc, err := decode(r.Body, &d)
		if err != nil {
			return err
		}
		g := grid{head: []string{"node", "answered", "comparisons"}, nums: []int{3}}
		for _, raw := range d.Asked {
			var n struct {
				Node        string `json:"node"`
				Answered    bool   `json:"answered"`
				Comparisons int    `json:"comparisons"`
			}
			if _, err := decode(raw, &n); err != nil {
				return err
			}
			g.add(n.Node, yes(n.Answered), n.Comparisons)
		}
		return a.show(view{doc: doc, rows: items(d.Asked), table: g.String, raw: g.raw})
	}}
	c.Flags().IntVar(&partition, "partition", -1, "only this partition")
	a.clientFlags(c, asTable)
	return c
}

func newRepairHints(a *app) *cobra.Command {
	c := &cobra.Command{Use: "hints", Short: "Show what is kept for nodes that could not be reached", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		r, err := a.ask(c.Context(), rest.Request{Method: http.MethodGet, Path: "/v1/hints"})
		if err != nil {
			return err
		}
		var d struct {
			Targets []json.RawMessage `json:"targets"`
			Silent  []string          `json:"silent"`
		}
		doc, err := decode(r.Body, &d)
		if err != nil {
			return err
		}
		g := grid{head: []string{"for", "hints", "bytes", "oldest", "dirty partitions", "kept by"}, nums: []int{2, 3, 4, 5}}
		for _, raw := range d.Targets {
			var t struct {
				Node            string   `json:"node"`
				SID             string   `json:"sid"`
				Hints           uint64   `json:"hints"`
				Bytes           int64    `json:"bytes"`
				OldestAgeMS     int64    `json:"oldest_age_ms"`
				DirtyPartitions int      `json:"dirty_partitions"`
				Holders         []string `json:"holders"`
			}
			if _, err := decode(raw, &t); err != nil {
				return err
			}
			if t.Node == "" {
				t.Node = "store " + t.SID
			}
			g.add(t.Node, t.Hints, bytesText(t.Bytes), ago(t.OldestAgeMS), t.DirtyPartitions, strings.Join(t.Holders, " "))
		}
		return a.show(view{doc: doc, rows: items(d.Targets), raw: g.raw, table: func() string {
			if len(d.Silent) > 0 {
				return g.String() + "\nwithout an answer: " + strings.Join(d.Silent, " ") + "\n"
			}
			return g.String()
		}})
	}}
	a.clientFlags(c, asTable)
	return c
}
