package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

// conditions are the flags of writes that compare first, and of their name.
type conditions struct {
	match, noneMatch, key string
}

func (f *conditions) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.match, "if-match", "", "strong buckets: only if the key holds this version (an ETag, with or without its quotes; *: anything)")
	fl.StringVar(&f.noneMatch, "if-none-match", "", "strong buckets: *, only if the key holds nothing")
	fl.StringVar(&f.key, "idempotency-key", "", "`UNIX_MS-RANDOM`: a repeat under the same key acts once (default: a new one)")
}

// header is what the flags say.
func (f *conditions) header() (http.Header, error) {
	h := http.Header{}
	if f.match != "" && f.noneMatch != "" {
		return nil, usagef("--if-match and --if-none-match are both given")
	}
	if f.noneMatch != "" && f.noneMatch != "*" {
		return nil, usagef("--if-none-match: %q is not *", f.noneMatch)
	}
	if f.match != "" {
		h.Set("If-Match", quoted(f.match))
	}
	if f.noneMatch != "" {
		h.Set("If-None-Match", f.noneMatch)
	}
	if f.key == "" {
		h.Set("Idempotency-Key", rest.NewIdempotencyKey(time.Now()))
	} else {
		h.Set("Idempotency-Key", f.key)
	}
	return h, nil
}

// quoted puts quotes around an ETag that has lost its own to a shell.
func quoted(etag string) string {
	if etag == "*" || strings.Contains(etag, `"`) {
		return etag
	}
	return `"` + etag + `"`
}
