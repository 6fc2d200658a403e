package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

// strongRow is a partition of GET /v1/cluster/ring as strong mode has it.
type strongRow struct {
	ID      int     `json:"id"`
	Primary *string `json:"primary"`
	Strong  *struct {
		Epoch    uint64     `json:"epoch"`
		Active   bool       `json:"active"`
		Sets     [][]string `json:"sets"`
		Learners []string   `json:"learners"`
	} `json:"strong"`
}

func (p *strongRow) primary() string {
	if p.Primary == nil {
		return ""
	}
	return *p.Primary
}

type strongRing struct {
	RingVersion uint64      `json:"ring_version"`
	Partitions  []strongRow `json:"partitions"`
	Nodes       []struct {
		Name  string `json:"name"`
		State string `json:"state"`
	} `json:"nodes"`
}

func (a *app) strongRing(ctx context.Context) (*strongRing, error) {
	r, err := a.ask(ctx, rest.Request{Method: http.MethodGet, Path: "/v1/cluster/ring"})
	if err != nil {
		return nil, err
	}
	var ring strongRing
	_, err = decode(r.Body, &ring)
	return &ring, err
}

// nodePrimaries is what one node leads.
type nodePrimaries struct {
	Node      string `json:"node"`
	Primaries int    `json:"primaries"`
	Active    int    `json:"active"`
	Member    int    `json:"member"`
	Learning  int    `json:"learning"`
}

// inactive is a partition whose primary does not serve, and why.
type inactive struct {
	Partition int    `json:"partition"`
	Epoch     uint64 `json:"epoch"`
	Primary   string `json:"primary"`
	Why       string `json:"why,omitempty"`
}

type primariesDoc struct {
	RingVersion uint64          `json:"ring_version"`
	Partitions  int             `json:"partitions"` // that have a primary
	Active      int             `json:"active"`
	Nodes       []nodePrimaries `json:"nodes"`
	Inactive    []inactive      `json:"inactive"`
}

// primaries counts who leads what. The ring says who serves; whether it could be reached,
// and enough of its members, only the node that was asked.
func (r *strongRing) primaries(now *clusterDoc) *primariesDoc {
	why := map[int]string{}
	for _, p := range now.inactive() {
		why[p.Partition] = p.Why
	}
	d := &primariesDoc{RingVersion: r.RingVersion, Nodes: []nodePrimaries{}, Inactive: []inactive{}}
	at := map[string]*nodePrimaries{}
	count := func(name string) *nodePrimaries {
		if at[name] == nil {
			at[name] = &nodePrimaries{Node: name}
		}
		return at[name]
	}
	for _, n := range r.Nodes {
		if n.State != "retired" {
			count(n.Name)
		}
	}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if p.Strong == nil {
			continue
		}
		d.Partitions++
		lead := count(p.primary())
		lead.Primaries++
		if reason, not := why[p.ID]; p.Strong.Active && !not {
			d.Active++
			lead.Active++
		} else {
			d.Inactive = append(d.Inactive, inactive{p.ID, p.Strong.Epoch, p.primary(), reason})
		}
		for _, name := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(p.Strong.Sets...)))) {
			count(name).Member++
		}
		for _, name := range p.Strong.Learners {
			count(name).Learning++
		}
	}
	for _, n := range at {
		d.Nodes = append(d.Nodes, *n)
	}
	slices.SortFunc(d.Nodes, func(a, b nodePrimaries) int { return cmp.Compare(a.Node, b.Node) })
	return d
}

func newPrimaries(a *app) *cobra.Command {
	c := &cobra.Command{Use: "primaries", Short: "Show which nodes are primaries of strong partitions", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		ring, err := a.strongRing(c.Context())
		if err != nil {
			return err
		}
		now, _, err := a.clusterDoc(c.Context())
		if err != nil {
			return err
		}
		d := ring.primaries(now)
		g := grid{head: []string{"node", "primaries", "active", "member of", "learns"}, nums: []int{2, 3, 4, 5}}
		var rows []any
		for _, n := range d.Nodes {
			g.add(n.Node, n.Primaries, n.Active, n.Member, n.Learning)
			rows = append(rows, n)
		}
		return a.show(view{doc: d, rows: rows, raw: g.raw, table: func() string { return d.head() + "\n" + g.String() + inactiveText(d.Inactive) }})
	}}
	a.clientFlags(c, asTable)
	return c
}

func (d *primariesDoc) head() string {
	if d.Partitions == 0 {
		return fmt.Sprintf("ring version %d: no partition has a primary, there has been no strong bucket yet\n", d.RingVersion)
	}
	return fmt.Sprintf("ring version %d: %d of %d partitions have an active primary\n", d.RingVersion, d.Active, d.Partitions)
}

// inactiveRows leaves the nodes on the screen: beyond it partitions that miss the same
// primary for the same reason share a row.
const inactiveRows = 10

// inactiveText lists partitions without an active primary; nothing when there are none.
func inactiveText(list []inactive) string {
	if len(list) == 0 {
		return ""
	}
	g := grid{head: []string{"without an active primary", "epoch", "primary", "why"}, nums: []int{1, 2}}
	if len(list) > inactiveRows {
		return "\n" + inactiveGroups(list).String()
	}
	for _, p := range list {
		g.add(p.Partition, p.Epoch, dash(p.Primary), dash(p.Why))
	}
	return "\n" + g.String()
}

// inactiveGroups is a row for each primary and reason, in the order of their first partitions.
func inactiveGroups(list []inactive) *grid {
	const named = 6 // partitions of a row that are named
	type reason struct{ primary, why string }
	var order []reason
	groups := map[reason][]string{}
	for _, p := range list {
		r := reason{p.Primary, p.Why}
		if groups[r] == nil {
			order = append(order, r)
		}
		groups[r] = append(groups[r], strconv.Itoa(p.Partition))
	}
	g := &grid{head: []string{"without an active primary", "partitions", "primary", "why"}, nums: []int{1}}
	for _, r := range order {
		ids := groups[r]
		text := strings.Join(ids[:min(named, len(ids))], " ")
		if len(ids) > named {
			text += " ..."
		}
		g.add(len(ids), text, dash(r.primary), dash(r.why))
	}
	return g
}

const (
	movePoll = 50 * time.Millisecond // between two looks at the ring
	moveAsks = 2 * time.Second       // between two requests: the leader may have changed
	moveWait = 30 * time.Second      // at most, unless --wait says otherwise
)

func newMovePrimary(a *app) *cobra.Command {
	partition, to, wait := -1, "", moveWait
	c := &cobra.Command{Use: "move-primary --partition P --to NODE", Short: "Hand a partition's primary over to another of its members", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		if partition < 0 || to == "" {
			return usagef("--partition and --to are needed")
		}
		ctx, cancel := interruptible(c.Context())
		defer cancel()
		ctx, cancelWait := context.WithTimeout(ctx, wait)
		defer cancelWait()
		m, err := a.movePrimary(ctx, partition, to)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("partition %d: %s leads it since epoch %d, after %d ms; before: %s\n", m.Partition, m.To, m.Epoch, m.TookMS, dash(m.From))
		g := grid{}
		g.add(m.Partition, m.From, m.To, m.Epoch, m.TookMS)
		return a.show(view{doc: m, table: func() string { return line }, raw: g.raw})
	}}
	c.Flags().IntVar(&partition, "partition", -1, "the partition")
	c.Flags().StringVar(&to, "to", "", "the node that shall lead it, one of its members")
	c.Flags().DurationVar(&wait, "wait", wait, "how long to wait for it")
	a.clientFlags(c, asTable)
	return c
}

// moved is a hand-over that is done.
type moved struct {
	Partition int    `json:"partition"`
	From      string `json:"from"`
	To        string `json:"to"`
	Epoch     uint64 `json:"epoch"`
	TookMS    int64  `json:"took_ms"`
}

// movePrimary asks for the hand-over and watches the ring until it is done. What it
// sees goes to the error output, for a person who waits.
func (a *app) movePrimary(ctx context.Context, partition int, to string) (*moved, error) {
	body, err := json.Marshal(map[string]any{"partition": partition, "to": to})
	if err != nil {
		return nil, err
	}
	began := time.Now()
	var asked time.Time
	m := &moved{Partition: partition, To: to}
	said := ""
	for {
		if now := time.Now(); now.Sub(asked) >= moveAsks {
			if m.From, err = a.askMove(ctx, body, m.From); err != nil {
				return nil, err
			}
			asked = now
		}
		ring, err := a.strongRing(ctx)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		if ring != nil && partition < len(ring.Partitions) {
			if p := &ring.Partitions[partition]; p.Strong != nil {
				if p.primary() == to && p.Strong.Active {
					m.Epoch, m.TookMS = p.Strong.Epoch, time.Since(began).Milliseconds()
					return m, nil
				}
				if now := fmt.Sprintf("epoch %d, primary %s, %s", p.Strong.Epoch, p.primary(), activeText(p.Strong.Active)); now != said {
					said = now
					fmt.Fprintf(a.stderr, "partition %d: %s\n", partition, now)
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil, &coded{exitUnavailable, fmt.Errorf("node %s does not lead partition %d yet (%s); it may still come to: %w", to, partition, said, ctx.Err())}
		case <-time.After(movePoll):
		}
	}
}

func activeText(active bool) string {
	if active {
		return "active"
	}
	return "taking over"
}

// askMove sends the request and gives the node that led when it was sent first.
func (a *app) askMove(ctx context.Context, body []byte, from string) (string, error) {
	r, err := a.ask(ctx, rest.Request{Method: http.MethodPost, Path: "/v1/cluster/primaries", Body: body, Header: http.Header{"Content-Type": {"application/json"}}, Write: true, Repeat: true})
	var problem *rest.Problem
	switch {
	case errors.As(err, &problem) && problem.Status >= 500 && from != "":
		return from, nil // the first one was taken; an election may come between
	case err != nil:
		return "", err
	case from != "":
		return from, nil
	}
	var d struct {
		From string `json:"from"`
	}
	_, err = decode(r.Body, &d)
	return strings.TrimSpace(d.From), err
}
