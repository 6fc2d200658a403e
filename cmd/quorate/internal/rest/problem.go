// Package rest is the small HTTP client of the command line: it asks one node after
// the other, never follows a redirect, and says what became of a write.
package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Outcomes of a write, as the error contract names them.
const (
	NotApplied = "not_applied"
	Applied    = "applied"
	Unknown    = "unknown"
)

// Problem is an error reply (application/problem+json, RFC 9457).
type Problem struct {
	Status       int     `json:"status"`
	Title        string  `json:"title,omitempty"`
	Detail       string  `json:"detail,omitempty"`
	Code         string  `json:"code"`
	Outcome      string  `json:"outcome,omitempty"`
	Retryable    bool    `json:"retryable"`
	RetryAfterMS int64   `json:"retry_after_ms,omitempty"`
	ETag         string  `json:"etag,omitempty"` // the current version, of precondition_failed
	Quorum       *Quorum `json:"quorum,omitempty"`
	Node         string  `json:"-"` // who answered: Quorate-Served-By, else the address asked
}

// Quorum is how far a request came; counts of stores.
type Quorum struct {
	N         int `json:"n"`
	Need      int `json:"need"`
	Acks      int `json:"acks"`
	Owners    int `json:"owners"`
	Fallbacks int `json:"fallbacks"`
	Failed    []struct {
		Node   string `json:"node"`
		Reason string `json:"reason"`
	} `json:"failed,omitempty"`
}

func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%d) from %s", p.Code, p.Status, p.Node)
	if text := p.Detail; text != "" {
		fmt.Fprintf(&b, ": %s", text)
	} else if p.Title != "" {
		fmt.Fprintf(&b, ": %s", p.Title)
	}
	if p.Outcome != "" {
		fmt.Fprintf(&b, " [outcome %s]", p.Outcome)
	}
	if p.ETag != "" {
		fmt.Fprintf(&b, " [the key holds %s]", p.ETag)
	}
	if q := p.Quorum; q != nil {
		fmt.Fprintf(&b, " [n=%d, need=%d, acks=%d, owners=%d, fallbacks=%d]", q.N, q.Need, q.Acks, q.Owners, q.Fallbacks)
		for _, f := range q.Failed {
			fmt.Fprintf(&b, " [%s: %s]", f.Node, f.Reason)
		}
	}
	return b.String()
}

// DecodeProblem reads an error reply. A body that is no problem document (a proxy, a
// cut answer) still gives one: its code is empty and, because nothing is known about
// the write, its outcome is unknown from 500 up.
func DecodeProblem(status int, header http.Header, body []byte, addr string) *Problem {
	p := &Problem{}
	if err := json.Unmarshal(body, p); err != nil || p.Code == "" {
		*p = Problem{Code: "http_" + fmt.Sprint(status), Title: http.StatusText(status)}
		if status >= http.StatusInternalServerError {
			p.Outcome, p.Retryable = Unknown, true
		}
	}
	p.Status, p.Node = status, addr
	if by := header.Get("Quorate-Served-By"); by != "" {
		p.Node = by
	}
	return p
}
