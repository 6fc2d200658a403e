package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

// valueMax is the API's hard cap; more is refused before it is sent.
const valueMax = 4 << 20

const consistencyHelp = "one, quorum or all; reads of strong buckets: leader, lease, quorum, replica or stale"

// kvFlags are what get, put and delete share.
type kvFlags struct {
	bucket, context, consistency, sloppy string
	quorum                               int
	key64                                bool
}

func (f *kvFlags) add(c *cobra.Command, quorum string) {
	fl := c.Flags()
	fl.StringVarP(&f.bucket, "bucket", "b", "default", "bucket")
	fl.BoolVar(&f.key64, "key64", false, "KEY is base64url, for keys of any bytes")
	fl.IntVar(&f.quorum, quorum, 0, "replicas that must answer (0: the bucket's default)")
	fl.StringVar(&f.consistency, "consistency", "", consistencyHelp)
	fl.StringVar(&f.sloppy, "sloppy", "", "true or false: whether stand-ins count (default: the bucket's)")
}

// path is the path of KEY.
func (f *kvFlags) path(prefix, arg string) (string, error) {
	key := arg
	if f.key64 {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(arg, "="))
		if err != nil {
			return "", usagef("KEY is no base64url: %v", err)
		}
		key = string(raw)
	}
	if key == "" {
		return "", usagef("KEY is empty")
	}
	return rest.KeyPath(prefix, url.PathEscape(f.bucket), key), nil
}

func (f *kvFlags) query(quorum string) url.Values {
	q := url.Values{}
	if f.quorum != 0 {
		q.Set(quorum, strconv.Itoa(f.quorum))
	}
	for k, v := range map[string]string{"consistency": f.consistency, "sloppy": f.sloppy} {
		if v != "" {
			q.Set(k, v)
		}
	}
	return q
}

func newGet(a *app) *cobra.Command {
	var f kvFlags
	var newest bool
	c := &cobra.Command{Use: "get KEY", Short: "Read a key", Args: cobra.ExactArgs(1),
		Long: `Read a key. The value goes to standard output as it is; -o table or json also show its
version, its causal context and the receipt. A key with siblings ends with exit code 4
in raw output; see them with -o table or json, or take one with --newest.`,
		RunE: func(c *cobra.Command, args []string) error {
			path, err := f.path("/v1/kv/", args[0])
			if err != nil {
				return err
			}
			q, h := f.query("r"), http.Header{}
			if newest {
				q.Set("resolve", "newest")
			}
			if f.context != "" {
				h.Set("Quorate-Read-After", f.context)
			}
			r, err := a.ask(c.Context(), rest.Request{Method: http.MethodGet, Path: path, Query: q, Header: h})
			if err != nil {
				return err
			}
			return a.showValue(args[0], r)
		}}
	f.add(c, "r")
	c.Flags().StringVar(&f.context, "read-after", "", "context that the answer must include")
	c.Flags().BoolVar(&newest, "newest", false, "of several siblings, the newest")
	a.clientFlags(c, asRaw)
	return c
}

func newPut(a *app) *cobra.Command {
	var f kvFlags
	var cond conditions
	var file, contentType string
	var ttl time.Duration
	var pw int
	c := &cobra.Command{Use: "put KEY [VALUE]", Short: "Write a key", Args: cobra.RangeArgs(1, 2),
		Long: `Write a key: VALUE, or the bytes of --file, or of standard input. With --context the write
overwrites exactly what that read or write saw. In a strong bucket --if-match writes only
over the version it names, --if-none-match '*' only a key that holds nothing; else exit
code 4. A lost answer is asked for again at the next of --addrs under the same
idempotency key.`,
		RunE: func(c *cobra.Command, args []string) error {
			path, err := f.path("/v1/kv/", args[0])
			if err != nil {
				return err
			}
			body, err := a.valueOf(args, file)
			if err != nil {
				return err
			}
			q := f.query("w")
			if pw != 0 {
				q.Set("pw", strconv.Itoa(pw))
			}
			if ttl != 0 {
				q.Set("ttl", ttl.String())
			}
			h, err := cond.header()
			if err != nil {
				return err
			}
			h.Set("Content-Type", contentType)
			return a.write(c.Context(), args[0], rest.Request{Method: http.MethodPut, Path: path, Query: q, Body: body, Header: h}, f.context)
		}}
	f.add(c, "w")
	cond.add(c)
	c.Flags().StringVar(&f.context, "context", "", "context of what this write overwrites")
	c.Flags().IntVar(&pw, "pw", 0, "of the acknowledgements, how many must be owners'")
	c.Flags().DurationVar(&ttl, "ttl", 0, "time until the value expires")
	c.Flags().StringVarP(&file, "file", "f", "", "read the value from this file; - is standard input")
	c.Flags().StringVar(&contentType, "content-type", "application/octet-stream", "kept with the value")
	a.clientFlags(c, asTable)
	return c
}

func newDelete(a *app) *cobra.Command {
	var f kvFlags
	var cond conditions
	c := &cobra.Command{Use: "delete KEY", Short: "Delete a key", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := f.path("/v1/kv/", args[0])
			if err != nil {
				return err
			}
			h, err := cond.header()
			if err != nil {
				return err
			}
			return a.write(c.Context(), args[0], rest.Request{Method: http.MethodDelete, Path: path, Query: f.query("w"), Header: h}, f.context)
		}}
	f.add(c, "w")
	cond.add(c)
	c.Flags().StringVar(&f.context, "context", "", "context of what this delete covers")
	a.clientFlags(c, asTable)
	return c
}

// valueOf finds the value of a put; only one source may be given.
func (a *app) valueOf(args []string, file string) ([]byte, error) {
	switch {
	case len(args) == 2 && file != "":
		return nil, usagef("VALUE and --file are both given")
	case len(args) == 2:
		return []byte(args[1]), nil
	case file == "" || file == "-":
		if a.inTTY && file == "" {
			return nil, usagef("no VALUE; give it, or --file, or pipe it in")
		}
		return readValue(a.stdin, "standard input")
	}
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return readValue(in, file)
}

func readValue(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, valueMax+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(b) > valueMax {
		return nil, usagef("%s is longer than %d bytes", name, valueMax)
	}
	return b, nil
}

// write sends a PUT or DELETE so that it may be repeated, and shows its receipt.
func (a *app) write(ctx context.Context, key string, r rest.Request, causal string) error {
	if causal != "" {
		r.Header.Set("Quorate-Context", causal)
	}
	r.Write, r.Repeat = true, true
	reply, err := a.ask(ctx, r)
	if err != nil {
		return err
	}
	h := reply.Header
	res := writeResult{Key: key, ETag: h.Get("ETag"), Receipt: h.Get("Quorate-Receipt"), Node: h.Get("Quorate-Served-By"), Context: h.Get("Quorate-Context")}
	return a.show(view{doc: res,
		table: func() string {
			g := grid{head: []string{"key", "etag", "receipt", "node"}}
			g.add(res.Key, res.ETag, res.Receipt, res.Node)
			return g.String()
		},
		raw: func(w io.Writer) error { _, err := fmt.Fprintln(w, cmp.Or(res.Context, res.ETag)); return err }})
}

type writeResult struct {
	Key     string `json:"key"`
	ETag    string `json:"etag"`
	Receipt string `json:"receipt"`
	Node    string `json:"node"`
	Context string `json:"context"`
}
