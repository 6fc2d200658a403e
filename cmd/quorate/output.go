package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
)

// Formats of -o.
const (
	asTable  = "table"
	asJSON   = "json"
	asNDJSON = "ndjson"
	asRaw    = "raw"
)

var formats = []string{asTable, asJSON, asNDJSON, asRaw}

func (a *app) outputFlag(c *cobra.Command, def string) {
	c.Flags().StringVarP(&a.output, "output", "o", def, "output format: "+strings.Join(formats, ", "))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // the flag was added just now
	inner := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if !c.Flags().Changed("output") {
			a.output = def // all commands share the variable, each has its own default
		}
		if !slices.Contains(formats, a.output) {
			return usagef("--output: %q is none of %s", a.output, strings.Join(formats, ", "))
		}
		if inner != nil {
			return inner(c, args)
		}
		return nil
	}
}

// view is one result in all its formats.
type view struct {
	doc   any                   // json, and ndjson when rows is nil
	rows  []any                 // ndjson: one line each
	table func() string         // for people
	raw   func(io.Writer) error // for scripts; nil: the table's cells, tab-separated, without a head
}

func (a *app) show(v view) error {
	switch a.output {
	case asJSON:
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v.doc)
	case asNDJSON:
		rows := v.rows
		if rows == nil {
			rows = []any{v.doc}
		}
		return a.lines(rows)
	case asRaw:
		return v.raw(a.stdout)
	}
	_, err := io.WriteString(a.stdout, v.table())
	return err
}

func (a *app) lines(rows []any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// grid is rows of cells under a head.
type grid struct {
	head []string
	rows [][]string
	nums []int // columns of numbers, right-aligned; counted from 1
}

func (g *grid) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = printable(fmt.Sprint(c))
	}
	g.rows = append(g.rows, row)
}

// String renders the table without borders or colour, so that it can be cut and
// compared like any text.
func (g *grid) String() string {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.Options{}
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatUpper
	t.SetStyle(style)
	var configs []table.ColumnConfig
	for _, n := range g.nums {
		configs = append(configs, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
	if g.head != nil {
		t.AppendHeader(cells(g.head))
	}
	for _, r := range g.rows {
		t.AppendRow(cells(r))
	}
	var b strings.Builder
	for line := range strings.Lines(t.Render() + "\n") {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// raw is the cells, tab-separated.
func (g *grid) raw(w io.Writer) error {
	for _, r := range g.rows {
		if _, err := fmt.Fprintln(w, strings.Join(r, "\t")); err != nil {
			return err
		}
	}
	return nil
}

func cells(list []string) table.Row {
	row := make(table.Row, len(list))
	for i, c := range list {
		row[i] = c
	}
	return row
}

// printable keeps bytes of keys and values from steering a terminal.
func printable(s string) string {
	clean := func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' || (r >= 0x80 && r < 0xa0) }
	if strings.IndexFunc(s, clean) < 0 {
		return s
	}
	quoted := fmt.Sprintf("%q", s)
	return quoted[1 : len(quoted)-1]
}

// decode reads a reply of JSON into what the tables need, and the document as it came
// for -o json, members of newer servers included.
func decode(body []byte, into any) (json.RawMessage, error) {
	if err := json.Unmarshal(body, into); err != nil {
		return nil, fmt.Errorf("answer is not the JSON that was expected: %w", err)
	}
	return json.RawMessage(bytes.TrimSpace(body)), nil
}

// items turns the members of an array of the document into lines of ndjson.
func items(list []json.RawMessage) []any {
	out := make([]any, len(list))
	for i, r := range list {
		out[i] = r
	}
	return out
}

// bytesText is a size for people.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, u := float64(n), 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[u])
}
