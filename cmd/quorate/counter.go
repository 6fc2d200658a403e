package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

func newCounter(a *app) *cobra.Command {
	return group("counter", "Read and change counters of strong buckets", newCounterGet(a), newCounterAdd(a))
}

// counterKey are the flags that name a counter.
func counterKey(c *cobra.Command, f *kvFlags) {
	c.Flags().StringVarP(&f.bucket, "bucket", "b", "default", "bucket, of mode strong")
	c.Flags().BoolVar(&f.key64, "key64", false, "KEY is base64url, for keys of any bytes")
}

func newCounterGet(a *app) *cobra.Command {
	var f kvFlags
	c := &cobra.Command{Use: "get KEY", Short: "Read a counter", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := f.path("/v1/counter/", args[0])
			if err != nil {
				return err
			}
			q := url.Values{}
			if f.consistency != "" {
				q.Set("consistency", f.consistency)
			}
			return a.counter(c.Context(), args[0], rest.Request{Method: http.MethodGet, Path: path, Query: q})
		}}
	counterKey(c, &f)
	c.Flags().StringVar(&f.consistency, "consistency", "", "leader, lease, quorum, replica or stale")
	a.clientFlags(c, asRaw)
	return c
}

func newCounterAdd(a *app) *cobra.Command {
	var f kvFlags
	var cond conditions
	c := &cobra.Command{Use: "add KEY [DELTA]", Short: "Add to a counter and print what it is then", Args: cobra.RangeArgs(1, 2),
		Long: `Add DELTA, by default 1, to a counter of a strong bucket, and print what it is then. A key that
holds nothing counts as 0. A DELTA below zero stands behind "--": counter add -b BUCKET KEY -- -5.
A lost answer is asked for again at the next of --addrs under the same idempotency key, so
that it is added once.`,
		RunE: func(c *cobra.Command, args []string) error {
			path, err := f.path("/v1/counter/", args[0])
			if err != nil {
				return err
			}
			delta := int64(1)
			if len(args) == 2 {
				if delta, err = strconv.ParseInt(args[1], 10, 64); err != nil {
					return usagef("DELTA: %q is no whole number of 64 bits", args[1])
				}
			}
			r, err := jsonRequest(http.MethodPost, path, map[string]int64{"delta": delta})
			if err != nil {
				return err
			}
			h, err := cond.header()
			if err != nil {
				return err
			}
			h.Set("Content-Type", "application/json")
			r.Header, r.Repeat = h, true
			return a.counter(c.Context(), args[0], r)
		}}
	counterKey(c, &f)
	cond.add(c)
	a.clientFlags(c, asRaw)
	return c
}

type counterResult struct {
	Key         string `json:"key"`
	Value       int64  `json:"value"`
	ETag        string `json:"etag"`
	Consistency string `json:"consistency,omitempty"`
	Stale       string `json:"stale,omitempty"`
	Receipt     string `json:"receipt"`
	Node        string `json:"node"`
}

// counter sends a request that a counter answers, and shows it.
func (a *app) counter(ctx context.Context, key string, r rest.Request) error {
	reply, err := a.ask(ctx, r)
	if err != nil {
		return err
	}
	var body struct {
		Value json.Number `json:"value"`
	}
	if _, err := decode(reply.Body, &body); err != nil {
		return err
	}
	n, err := body.Value.Int64()
	if err != nil {
		return fmt.Errorf("answer is no counter: %w", err)
	}
	h := reply.Header
	res := counterResult{Key: key, Value: n, ETag: h.Get("ETag"), Consistency: h.Get("Quorate-Consistency"), Stale: h.Get("Quorate-Stale"),
		Receipt: h.Get("Quorate-Receipt"), Node: h.Get("Quorate-Served-By")}
	return a.show(view{doc: res,
		table: func() string {
			g := grid{head: []string{"key", "value", "etag", "receipt", "node"}, nums: []int{2}}
			g.add(res.Key, res.Value, res.ETag, res.Receipt, res.Node)
			return g.String()
		},
		raw: func(w io.Writer) error { _, err := fmt.Fprintln(w, res.Value); return err }})
}
