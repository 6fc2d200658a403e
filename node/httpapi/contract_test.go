package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/quoratedb/quorate/node/core"
)

// contract is the API document, made strict for tests: members it does not name
// are errors, though clients must accept them.
type contract struct {
	doc    *openapi3.T
	router routers.Router
}

var loadContract = sync.OnceValues(func() (*contract, error) {
	text, err := openAPIDocument()
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	for _, s := range doc.Components.Schemas {
		strict(s, map[*openapi3.Schema]bool{})
	}
	// OpenAPI cannot say that a path parameter holds slashes, and a bucket's name
	// never holds a colon; the router's own syntax can.
	for path, item := range doc.Paths.Map() {
		routed := strings.Replace(path, "{key}", "{key:.+}", 1)
		routed = strings.Replace(routed, "{page}", "{page:.*}", 1)
		routed = strings.Replace(routed, "{bucket}", "{bucket:[^/:]+}", 1)
		if routed != path {
			doc.Paths.Delete(path)
			doc.Paths.Set(routed, item)
		}
	}
	openapi3filter.RegisterBodyDecoder(typeNDJSON, decodeLines)
	router, err := gorillamux.NewRouter(doc)
	return &contract{doc, router}, err
})

func strict(ref *openapi3.SchemaRef, done map[*openapi3.Schema]bool) {
	if ref == nil || ref.Value == nil || done[ref.Value] {
		return
	}
	s := ref.Value
	done[s] = true
	if len(s.Properties) > 0 {
		no := false
		s.AdditionalProperties = openapi3.BoolSchema{Has: &no}
	}
	for _, p := range s.Properties {
		strict(p, done)
	}
	for _, p := range s.OneOf {
		strict(p, done)
	}
	strict(s.Items, done)
}

func decodeLines(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	out := []any{}
	for d := json.NewDecoder(body); ; {
		var line any
		if err := d.Decode(&line); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		out = append(out, line)
	}
}

// checkContract holds a request and its answer to the document: what the handler
// accepts the document must allow, and every answer must be as the document says.
func checkContract(req *http.Request, a *answer) error {
	c, err := loadContract()
	if err != nil {
		return err
	}
	if p := req.URL.EscapedPath(); hasKey64(req.URL.RawQuery) && !strings.HasSuffix(p, "/") && !strings.HasPrefix(p, "/v1/cluster") {
		req.URL.Path, req.URL.RawPath = req.URL.Path+"/", ""
	}
	if p := req.URL.EscapedPath(); strings.HasPrefix(p, "/v1/kv/") && !strings.Contains(p[len("/v1/kv/"):], "/") {
		req.URL.RawPath = "" // an escaped colon is one too: default%3Aget
	}
	route, vars, err := c.router.FindRoute(req)
	if err != nil {
		return c.checkUnrouted(err, a)
	}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: vars, Route: route,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}}
	if accepted(a) {
		if err := openapi3filter.ValidateRequest(req.Context(), in); err != nil {
			return fmt.Errorf("the handler took a request that the document does not allow: %w", err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: a.StatusCode, Header: a.Header, Options: in.Options,
		Body: io.NopCloser(bytes.NewReader(a.body))}
	return openapi3filter.ValidateResponse(req.Context(), out)
}

func accepted(a *answer) bool { return a.StatusCode < 400 }

// checkUnrouted: a path or method that the document lacks must be refused.
func (c *contract) checkUnrouted(err error, a *answer) error {
	switch {
	case errors.Is(err, routers.ErrPathNotFound) && (a.StatusCode == 404 || a.StatusCode == 400):
	case errors.Is(err, routers.ErrMethodNotAllowed) && a.StatusCode == 405 && a.Header.Get("Allow") != "":
	case a.StatusCode == 503: // shed before routing
	default:
		return fmt.Errorf("%w, yet the status is %d", err, a.StatusCode)
	}
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		return err
	}
	return c.doc.Components.Schemas["Problem"].Value.VisitJSON(v)
}

func TestDocumentIsValidAndServed(t *testing.T) {
	r := newRig(t)
	a := r.want(200, "", "GET", "/openapi.json", "")
	doc, err := openapi3.NewLoader().LoadFromData(a.body)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Every route of the handler stands in the document with its methods, and the
// other way round: whatever the document names is answered, not 404 and not 405.
func TestDocumentAndRoutesAgree(t *testing.T) {
	r := newRig(t)
	r.b.propose = ErrNotProposed // a DELETE must not take the bucket away from the rest
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range c.doc.Paths.Map() {
		target := strings.NewReplacer("{bucket:[^/:]+}", "default", "{key:.+}", "k", "{id}", "x:y", "{page:.*}", "p").Replace(path)
		for _, method := range []string{"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"} {
			a := r.raw(method, target, "")
			inDocument := item.GetOperation(method) != nil
			if a.StatusCode == 404 && a.Header.Get("Quorate-Receipt") == "" {
				t.Errorf("%s %s: the handler has no such route", method, path)
			}
			if (a.StatusCode == 405) == inDocument {
				t.Errorf("%s %s: status %d, in the document: %v", method, path, a.StatusCode, inDocument)
			}
		}
	}
}

// The check itself is checked: planted deviations of each kind are caught.
func TestContractCatchesDeviations(t *testing.T) {
	r := newRig(t)
	r.b.answer(okReply(object(sibling(1, 1, 1000, "text/plain", "v"))))
	for _, c := range []struct {
		name   string
		target string
		break1 func(a *answer)
	}{
		{"a required header is missing", "/v1/kv/default/k", func(a *answer) { a.Header.Del("Quorate-Receipt") }},
		{"a header has another form", "/v1/kv/default/k", func(a *answer) { a.Header.Set("ETag", `W/"12"`) }},
		{"a status is not documented", "/v1/kv/default/k", func(a *answer) { a.StatusCode = 206 }},
		{"a required member is missing", "/v1/cluster/ring", func(a *answer) { a.body = bytes.Replace(a.body, []byte(`"ring_version"`), []byte(`"version"`), 1) }},
		{"a member is not documented", "/v1/buckets/default", func(a *answer) { a.body = bytes.Replace(a.body, []byte("{"), []byte(`{"quota":1,`), 1) }},
		{"a problem has an unknown code", "/v1/kv/none/k", func(a *answer) { a.body = bytes.Replace(a.body, []byte("bucket_not_found"), []byte("no_bucket"), 2) }},
		{"a value of a listing is no base64 text", "/v1/buckets", func(a *answer) {
			a.body = bytes.Replace(a.body, []byte(`"sloppy":true`), []byte(`"sloppy":"yes"`), 1)
		}},
	} {
		a := r.do("GET", c.target, "")
		c.break1(a)
		if err := checkContract(r.request("GET", c.target, "", nil), a); err == nil {
			t.Errorf("%s: not caught", c.name)
		}
	}
	// A handler that takes what the document forbids is caught too.
	a := r.do("GET", "/v1/kv/default/k", "")
	if err := checkContract(r.request("GET", "/v1/kv/default/k?consistency=most", "", nil), a); err == nil {
		t.Error("an accepted request outside the document was not caught")
	}
	if got := r.b.last(t); got.Op != core.OpGet {
		t.Errorf("op %v", got.Op)
	}
}
