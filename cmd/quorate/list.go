package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

// listPageSize is one request's worth of keys.
const listPageSize = 1000

type listPage struct {
	Keys     []json.RawMessage `json:"keys"`
	Cursor   string            `json:"cursor"`
	Complete bool              `json:"complete"`
}

type listRow struct {
	Key      string `json:"key"`
	Key64    string `json:"key64"`
	ETag     string `json:"etag"`
	Siblings int    `json:"siblings"`
	Value    []byte `json:"value"`
}

// listing walks the pages of a bucket.
type listing struct {
	a                     *app
	bucket, prefix, start string
	limit                 int // 0: all
	values                bool
	incomplete            bool
	more                  bool
}

func newList(a *app) *cobra.Command {
	l := listing{a: a}
	c := &cobra.Command{Use: "list", Short: "List keys in order", Args: cobra.NoArgs,
		Long: `List the keys of a bucket in order. A list asks one replica of each partition. Raw output is
one key a line; keys that are not UTF-8 show as key64:BASE64URL. Where a partition could
not be read the list is incomplete, says so, and ends with exit code 5.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if l.limit < 0 {
				return usagef("--limit: %d is below zero", l.limit)
			}
			return l.run(c.Context())
		}}
	f := c.Flags()
	f.StringVarP(&l.bucket, "bucket", "b", "default", "bucket")
	f.StringVar(&l.prefix, "prefix", "", "only keys that begin so")
	f.StringVar(&l.start, "start", "", "begin at this key")
	f.IntVar(&l.limit, "limit", listPageSize, "at most so many keys; 0: all")
	f.BoolVar(&l.values, "values", false, "with the values")
	a.clientFlags(c, asTable)
	return c
}

func (l *listing) run(ctx context.Context) error {
	a := l.a
	var rows []json.RawMessage
	g := grid{head: []string{"key", "etag"}}
	if l.values {
		g.head = append(g.head, "value")
	}
	err := l.pages(ctx, func(page []json.RawMessage) error {
		switch a.output {
		case asNDJSON:
			return a.lines(items(page))
		case asRaw:
			return rawKeys(a.stdout, page)
		case asJSON:
			rows = append(rows, page...)
			return nil
		}
		return l.fill(&g, page)
	})
	if err != nil {
		return err
	}
	if a.output == asTable || a.output == asJSON {
		doc := map[string]any{"keys": items(rows), "complete": !l.incomplete, "more": l.more}
		if err := a.show(view{doc: doc, table: g.String}); err != nil {
			return err
		}
	}
	if l.more {
		fmt.Fprintf(a.stderr, "more keys follow; --limit 0 lists all\n")
	}
	if l.incomplete {
		return &coded{exitUnavailable, errors.New("the list is incomplete: some partition could not be read")}
	}
	return nil
}

func (l *listing) pages(ctx context.Context, each func([]json.RawMessage) error) error {
	cursor := ""
	for left := l.limit; ; {
		page, err := l.page(ctx, cursor, left)
		if err != nil {
			return err
		}
		l.incomplete = l.incomplete || !page.Complete
		if err := each(page.Keys); err != nil {
			return err
		}
		left -= len(page.Keys)
		if page.Cursor == "" || page.Cursor == cursor {
			return nil
		}
		if l.limit > 0 && left <= 0 {
			l.more = true
			return nil
		}
		cursor = page.Cursor
	}
}

func (l *listing) page(ctx context.Context, cursor string, left int) (*listPage, error) {
	size := listPageSize
	if l.limit > 0 {
		size = min(size, left)
	}
	q := url.Values{"limit": {strconv.Itoa(size)}}
	set := func(name, v string) {
		if v != "" {
			q.Set(name, v)
		}
	}
	set("prefix", l.prefix)
	set("cursor", cursor)
	if cursor == "" {
		set("start", l.start)
	}
	if l.values {
		q.Set("values", "true")
	}
	r, err := l.a.ask(ctx, rest.Request{Method: http.MethodGet, Path: "/v1/kv/" + url.PathEscape(l.bucket), Query: q,
		Header: http.Header{"Accept": {"application/json"}}})
	if err != nil {
		return nil, err
	}
	var page listPage
	_, err = decode(r.Body, &page)
	return &page, err
}

func (l *listing) fill(g *grid, page []json.RawMessage) error {
	for _, raw := range page {
		row, err := readRow(raw)
		if err != nil {
			return err
		}
		etag := row.ETag
		if row.Siblings > 1 {
			etag += fmt.Sprintf(" (%d siblings)", row.Siblings)
		}
		if l.values {
			g.add(row.name(), etag, valueText(row.Value))
		} else {
			g.add(row.name(), etag)
		}
	}
	return nil
}

func readRow(raw json.RawMessage) (*listRow, error) {
	var row listRow
	_, err := decode(raw, &row)
	return &row, err
}

func (r *listRow) name() string {
	if r.Key64 != "" {
		return "key64:" + r.Key64
	}
	return r.Key
}

// rawKeys prints one key a line; a key with a line end in it shows as base64url too.
func rawKeys(w io.Writer, page []json.RawMessage) error {
	for _, raw := range page {
		row, err := readRow(raw)
		if err != nil {
			return err
		}
		name := row.name()
		if printable(name) != name {
			name = "key64:" + base64.RawURLEncoding.EncodeToString([]byte(row.Key))
		}
		if _, err := fmt.Fprintln(w, name); err != nil {
			return err
		}
	}
	return nil
}
