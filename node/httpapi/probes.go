package httpapi

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.yaml.in/yaml/v3"
)

// livez says that the process answers.
func (c *call) livez() {
	if _, f := c.q.boolean(paramVerbose); f != nil {
		c.fail(f)
		return
	}
	c.w.Header()[hdrCacheControl] = valNoStore
	c.json(http.StatusOK, struct {
		Status string `json:"status"`
	}{"live"})
}

// readyz says whether the node should be given requests.
func (c *call) readyz() {
	verbose, f := c.q.boolean(paramVerbose)
	if f != nil {
		c.fail(f)
		return
	}
	checks := c.a.b.Ready()
	c.w.Header()[hdrCacheControl] = valNoStore
	for _, check := range checks {
		if !check.OK {
			c.fail(&fault{code: codeStarting, detail: "not ready: " + check.Name + ": " + check.Detail, checks: checks})
			return
		}
	}
	if !verbose {
		checks = nil
	}
	c.json(http.StatusOK, struct {
		Status string  `json:"status"`
		Checks []Check `json:"checks,omitempty"`
	}{"ready", checks})
}

func (a *api) metricsPage() func(*call) {
	page := promhttp.HandlerFor(a.b.Gatherer(), promhttp.HandlerOpts{})
	return func(c *call) {
		h := c.headers()
		c.localHeaders(h)
		h.flush(c.w.Header())
		page.ServeHTTP(c.w, c.r)
	}
}

//go:embed openapi.yaml
var openAPISource []byte

// openAPIDocument is openapi.yaml as JSON, made when it is first asked for.
var openAPIDocument = sync.OnceValues(func() ([]byte, error) {
	var doc any
	if err := yaml.Unmarshal(openAPISource, &doc); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	return json.Marshal(doc)
})

func (c *call) openAPI() {
	doc, err := openAPIDocument()
	if err != nil {
		c.a.Log.Error("the API document cannot be read", "error", err)
		c.fail(refuse(codeInternal, "the API document cannot be read"))
		return
	}
	c.json(http.StatusOK, json.RawMessage(doc))
}
