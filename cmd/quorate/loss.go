package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

// The last resorts: each shows what it would give up, and does it with --yes.

// lastResort is what both of them take and are answered.
type lastResort struct {
	partitions []int
	yes        bool
}

func (l *lastResort) flags(c *cobra.Command) {
	c.Flags().IntSliceVar(&l.partitions, "partition", nil, "only these, comma separated; without it every partition that needs it")
	c.Flags().BoolVar(&l.yes, "yes", false, "do it; without it nothing is changed and the plan is shown")
}

// lossDoc is the answer: a row for each partition, as it comes.
type lossDoc struct {
	Applied    bool              `json:"applied"`
	Partitions []json.RawMessage `json:"partitions"`
	Refused    []struct {
		Partition int    `json:"partition"`
		Reason    string `json:"reason"`
	} `json:"refused"`
}

// send asks for the plan, or for it to be carried out.
func (l *lastResort) send(c *cobra.Command, a *app, path string, body map[string]any) (doc any, d lossDoc, err error) {
	if len(l.partitions) > 0 {
		body["partitions"] = l.partitions
	}
	body["apply"] = l.yes
	b, err := json.Marshal(body)
	if err != nil {
		return nil, d, err
	}
	r, err := a.ask(c.Context(), rest.Request{Method: http.MethodPost, Path: path, Body: b, Header: http.Header{"Content-Type": {"application/json"}}, Write: l.yes, Repeat: !l.yes})
	if err != nil {
		return nil, d, err
	}
	doc, err = decode(r.Body, &d)
	return doc, d, err
}

// show prints the rows, and says what has happened, or would.
func (l *lastResort) show(a *app, doc any, d *lossDoc, g *grid, none, done string) error {
	for _, r := range d.Refused {
		fmt.Fprintf(a.stderr, "partition %d is left out: %s\n", r.Partition, r.Reason)
	}
	switch {
	case len(d.Partitions) == 0 && len(d.Refused) == 0:
		fmt.Fprintln(a.stderr, none)
	case d.Applied:
		fmt.Fprintf(a.stderr, "%d partitions: %s; \"quorate cluster\" shows them under possible loss from now on\n", len(d.Partitions), done)
	case len(d.Partitions) > 0:
		fmt.Fprintln(a.stderr, "nothing was changed; --yes does it, and it cannot be taken back")
	}
	return a.show(view{doc: doc, rows: items(d.Partitions), raw: g.raw, table: g.String})
}

type lossOwner struct {
	Node    string `json:"node"`
	State   string `json:"state"`
	Answers bool   `json:"answers"`
}

// String is the node and why its word does not count.
func (o lossOwner) String() string {
	if o.Answers || o.State == "suspect" {
		return o.Node + " (" + o.State + ")"
	}
	return o.Node + " (" + o.State + ", silent)"
}

func newRepairForceFull(a *app) *cobra.Command {
	var l lastResort
	c := &cobra.Command{Use: "force-full", Short: "Give up lost owners where no full one is left (last resort)", Args: cobra.NoArgs,
		Long: `For partitions of eventual buckets of which every full replica is lost: damaged, or on a
machine that never comes back. What other replicas had been filled with so far becomes all
there is; where there is none the partition begins empty. Acknowledged writes may be gone,
and deleted keys may come back. That is recorded for ever.

First try everything that may bring a full replica back: it is only safe to give up what
is really lost. Without --yes nothing is changed.`,
		RunE: func(c *cobra.Command, _ []string) error {
			doc, d, err := l.send(c, a, "/v1/repair", map[string]any{"force_full": true})
			if err != nil {
				return err
			}
			g := grid{head: []string{"partition", "n", "gives up", "becomes full"}, nums: []int{1, 2}}
			for _, raw := range d.Partitions {
				var p struct {
					Partition int         `json:"partition"`
					N         int         `json:"n"`
					GivesUp   []lossOwner `json:"gives_up"`
					Full      []string    `json:"full"`
				}
				if _, err := decode(raw, &p); err != nil {
					return err
				}
				full := strings.Join(p.Full, " ")
				if full == "" {
					full = "the first new store, empty"
				}
				g.add(p.Partition, p.N, owners(p.GivesUp), full)
			}
			return l.show(a, doc, &d, &g, "every partition has a full owner that answers, or waits for new stores: there is nothing to give up",
				"their lost owners are given up, what is left is filled from the rest")
		}}
	l.flags(c)
	a.clientFlags(c, asTable)
	return c
}

func owners(list []lossOwner) string {
	var out []string
	for _, o := range list {
		out = append(out, o.String())
	}
	return strings.Join(out, " ")
}

func newRecover(a *app) *cobra.Command {
	var l lastResort
	var from []string
	c := &cobra.Command{Use: "recover", Short: "Go on with what is left of strong partitions without a majority (last resort)", Args: cobra.NoArgs,
		Long: `For partitions of strong buckets of which a majority of the members is lost for good. The
log of one or two members that still answer becomes all there is, under a new incarnation:
acknowledged writes may be gone, ETags from before never match again. That is recorded for
ever. It is refused while a majority can be reached.

The members that are left out must really be gone: while they are only cut off they may go
on serving, and what they acknowledge is lost. They come back with an empty directory only.
Without --yes nothing is changed.`,
		RunE: func(c *cobra.Command, _ []string) error {
			body := map[string]any{}
			if len(from) > 0 {
				body["from"] = from
			}
			doc, d, err := l.send(c, a, "/v1/cluster/recover", body)
			if err != nil {
				return err
			}
			g := grid{head: []string{"partition", "epoch", "members", "goes on with", "gives up"}, nums: []int{1, 2}}
			for _, raw := range d.Partitions {
				var p recoverRow
				if _, err := decode(raw, &p); err != nil {
					return err
				}
				g.add(p.Partition, p.Epoch, p.members(), p.goesOn(), dash(strings.Join(p.GivesUp, " ")))
			}
			return l.show(a, doc, &d, &g, "every partition has a majority of its members: there is nothing to recover",
				"they go on with what was left, under a new incarnation")
		}}
	l.flags(c)
	c.Flags().StringSliceVar(&from, "from", nil, "go by the logs of these nodes, at most two; without it by the furthest that answer")
	a.clientFlags(c, asTable)
	return c
}

type recoverRow struct {
	Partition int    `json:"partition"`
	Epoch     uint64 `json:"epoch"`
	Members   []struct {
		lossOwner
		Log *struct {
			Epoch uint64 `json:"epoch"`
			Index uint64 `json:"index"`
			Full  bool   `json:"full"`
		} `json:"log"`
	} `json:"members"`
	From    []string `json:"from"`
	GivesUp []string `json:"gives_up"`
	Empty   bool     `json:"empty"`
}

// members shows each with where its log ends.
func (p *recoverRow) members() string {
	var out []string
	for _, m := range p.Members {
		text := m.String()
		if m.Log != nil {
			text = m.Node + " " + strconv.FormatUint(m.Log.Epoch, 10) + "." + strconv.FormatUint(m.Log.Index, 10)
			if !m.Log.Full {
				text += " (damaged)"
			}
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func (p *recoverRow) goesOn() string {
	if p.Empty {
		return strings.Join(p.From, " ") + ", without keys"
	}
	return strings.Join(p.From, " ")
}
