package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

type bucketRow struct {
	Name     string `json:"name"`
	Mode     string `json:"mode"`
	Conflict string `json:"conflict"`
	N        int    `json:"n"`
	R        int    `json:"r"`
	W        int    `json:"w"`
	Sloppy   bool   `json:"sloppy"`
	TTLMS    int64  `json:"ttl_ms"`
}

func newBucket(a *app) *cobra.Command {
	return group("bucket", "List, create and change buckets",
		newBucketList(a), newBucketCreate(a), newBucketShow(a), newBucketSet(a), newBucketDelete(a))
}

func newBucketList(a *app) *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the buckets", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		r, err := a.ask(c.Context(), rest.Request{Method: http.MethodGet, Path: "/v1/buckets"})
		if err != nil {
			return err
		}
		var body struct {
			Buckets []json.RawMessage `json:"buckets"`
		}
		doc, err := decode(r.Body, &body)
		if err != nil {
			return err
		}
		return a.showBuckets(doc, body.Buckets)
	}}
	a.clientFlags(c, asTable)
	return c
}

func (a *app) showBuckets(doc json.RawMessage, list []json.RawMessage) error {
	g := grid{head: []string{"name", "mode", "conflict", "n", "r", "w", "sloppy", "ttl"}, nums: []int{4}}
	for _, raw := range list {
		var b bucketRow
		if _, err := decode(raw, &b); err != nil {
			return err
		}
		ttl := "-"
		if b.TTLMS > 0 {
			ttl = (time.Duration(b.TTLMS) * time.Millisecond).String()
		}
		if b.Mode == "strong" { // nothing conflicts there
			b.Conflict = "-"
		}
		g.add(b.Name, b.Mode, b.Conflict, b.N, orMajority(b.R), orMajority(b.W), yes(b.Sloppy), ttl)
	}
	return a.show(view{doc: doc, rows: items(list), table: g.String, raw: g.raw})
}

func orMajority(n int) string {
	if n == 0 {
		return "majority"
	}
	return strconv.Itoa(n)
}

func newBucketShow(a *app) *cobra.Command {
	c := &cobra.Command{Use: "show NAME", Short: "Show a bucket", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return a.bucketCall(c.Context(), rest.Request{Method: http.MethodGet, Path: bucketPath(args[0])})
	}}
	a.clientFlags(c, asTable)
	return c
}

func bucketPath(name string) string { return "/v1/buckets/" + url.PathEscape(name) }

// bucketCall sends a request that a bucket answers.
func (a *app) bucketCall(ctx context.Context, r rest.Request) error {
	reply, err := a.ask(ctx, r)
	if err != nil {
		return err
	}
	return a.showBuckets(reply.Body, []json.RawMessage{reply.Body})
}

// bucketFlags are the properties; only those that the user set are sent, so that the
// server's defaults and the bucket's present values stand.
func bucketFlags(fs *pflag.FlagSet, mutableOnly bool) {
	if !mutableOnly {
		fs.String("mode", "", "eventual or strong (linearizable; compare-and-set, counters; no r, w, ttl)")
		fs.String("conflict", "", "siblings or lww (last write wins; concurrent writes may be lost)")
		fs.Int("n", 0, "replicas of every key")
	}
	fs.Int("r", 0, "replicas that must answer a read; 0: a majority")
	fs.Int("w", 0, "replicas that must acknowledge a write; 0: a majority")
	fs.Bool("sloppy", true, "stand-ins count while owners are away")
	fs.Duration("ttl", 0, "time until values expire; 0: never")
}

func bucketBody(fs *pflag.FlagSet) map[string]any {
	body := map[string]any{}
	for _, name := range []string{"mode", "conflict"} {
		if fs.Changed(name) {
			body[name], _ = fs.GetString(name) // registered above
		}
	}
	for _, name := range []string{"n", "r", "w"} {
		if fs.Changed(name) {
			body[name], _ = fs.GetInt(name)
		}
	}
	if fs.Changed("sloppy") {
		body["sloppy"], _ = fs.GetBool("sloppy")
	}
	if fs.Changed("ttl") {
		ttl, _ := fs.GetDuration("ttl")
		body["ttl_ms"] = ttl.Milliseconds()
	}
	return body
}

func jsonRequest(method, path string, body any) (rest.Request, error) {
	b, err := json.Marshal(body)
	return rest.Request{Method: method, Path: path, Body: b, Write: true, Header: http.Header{"Content-Type": {"application/json"}}}, err
}

func newBucketCreate(a *app) *cobra.Command {
	c := &cobra.Command{Use: "create NAME", Short: "Create a bucket", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		body := bucketBody(c.Flags())
		body["name"] = args[0]
		r, err := jsonRequest(http.MethodPost, "/v1/buckets", body)
		if err != nil {
			return err
		}
		r.Repeat = true // creating it again with the same properties changes nothing
		return a.bucketCall(c.Context(), r)
	}}
	bucketFlags(c.Flags(), false)
	a.clientFlags(c, asTable)
	return c
}

func newBucketSet(a *app) *cobra.Command {
	c := &cobra.Command{Use: "set NAME", Short: "Change a bucket's defaults", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		body := bucketBody(c.Flags())
		if len(body) == 0 {
			return usagef("nothing to set; give --r, --w, --sloppy or --ttl")
		}
		r, err := jsonRequest(http.MethodPatch, bucketPath(args[0]), body)
		if err != nil {
			return err
		}
		r.Repeat = true
		return a.bucketCall(c.Context(), r)
	}}
	bucketFlags(c.Flags(), true)
	a.clientFlags(c, asTable)
	return c
}

func newBucketDelete(a *app) *cobra.Command {
	var sure bool
	c := &cobra.Command{Use: "delete NAME", Short: "Delete a bucket and everything in it", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		if !sure && !a.confirm(args[0]) {
			return usagef("deleting a bucket deletes all its keys; give --yes")
		}
		_, err := a.ask(c.Context(), rest.Request{Method: http.MethodDelete, Path: bucketPath(args[0]), Write: true})
		if err == nil {
			fmt.Fprintf(a.stderr, "bucket %s deleted\n", printable(args[0]))
		}
		return err
	}}
	c.Flags().BoolVar(&sure, "yes", false, "do not ask")
	a.clientFlags(c, asTable)
	return c
}

// confirm asks for the name once more, on a terminal only.
func (a *app) confirm(name string) bool {
	if !a.inTTY || !a.errTTY {
		return false
	}
	fmt.Fprintf(a.stderr, "This deletes all keys of bucket %s. Type its name to go on: ", printable(name))
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	return err == nil && strings.TrimSpace(line) == name
}
