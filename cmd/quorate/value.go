package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

// sibling is one value of a key, as reads of several show it.
type sibling struct {
	ETag        string `json:"etag"`
	ContentType string `json:"content_type"`
	Value       []byte `json:"value"` // base64 in JSON
	HLC         string `json:"hlc,omitempty"`
}

type readResult struct {
	Key      string    `json:"key"`
	ETag     string    `json:"etag"` // of the key, for --if-match; siblings have one each
	Siblings []sibling `json:"siblings"`
	Context  string    `json:"context"`
	Receipt  string    `json:"receipt"`
	Node     string    `json:"node"`
	// Of a strong bucket: how the read was done, and what a stale one shows.
	Consistency string `json:"consistency,omitempty"`
	Stale       string `json:"stale,omitempty"`
}

// showValue prints what a read returned: one value, or siblings.
func (a *app) showValue(key string, r *rest.Reply) error {
	h := r.Header
	res := readResult{Key: key, ETag: h.Get("ETag"), Context: h.Get("Quorate-Context"), Receipt: h.Get("Quorate-Receipt"), Node: h.Get("Quorate-Served-By"),
		Consistency: h.Get("Quorate-Consistency"), Stale: h.Get("Quorate-Stale")}
	if r.Status == http.StatusMultipleChoices {
		var body struct {
			Siblings []sibling `json:"siblings"`
			Context  string    `json:"context"`
		}
		if _, err := decode(r.Body, &body); err != nil {
			return err
		}
		res.Siblings = body.Siblings
		if body.Context != "" {
			res.Context = body.Context
		}
	} else {
		res.Siblings = []sibling{{ETag: h.Get("ETag"), ContentType: h.Get("Content-Type"), Value: r.Body}}
	}
	return a.show(view{doc: res, table: res.table, raw: a.rawValue(&res)})
}

func (r *readResult) table() string {
	g := grid{head: []string{"value", "size", "content type", "etag"}, nums: []int{2}}
	for _, s := range r.Siblings {
		g.add(valueText(s.Value), len(s.Value), s.ContentType, s.ETag)
	}
	about := grid{}
	about.add("receipt", r.Receipt)
	about.add("node", r.Node)
	if r.Consistency == "" {
		about.add("context", r.Context)
	} else {
		about.add("consistency", strings.TrimSpace(r.Consistency+" "+r.Stale))
	}
	return g.String() + "\n" + about.String()
}

// rawValue is the value's own bytes; on a terminal a line end follows, so that the
// prompt stands on a line of its own.
func (a *app) rawValue(r *readResult) func(io.Writer) error {
	return func(w io.Writer) error {
		if n := len(r.Siblings); n != 1 {
			return &coded{exitConflict, fmt.Errorf("the key has %d siblings; see them with -o table, or take the newest with --newest", n)}
		}
		if _, err := w.Write(r.Siblings[0].Value); err != nil {
			return err
		}
		if a.outTTY {
			fmt.Fprintln(w)
		}
		return nil
	}
}

// valueText shows text as text and other bytes as base64, cut to a line.
func valueText(b []byte) string {
	const shown = 60
	s := string(b)
	if !utf8.Valid(b) {
		s = "base64:" + base64.StdEncoding.EncodeToString(b)
	}
	if utf8.RuneCountInString(s) > shown {
		runes := []rune(s)
		s = string(runes[:shown]) + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
