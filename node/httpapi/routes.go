package httpapi

import (
	"net/http"
	"net/http/pprof"
	"net/url"
	"strings"

	"github.com/gorilla/mux"
)

// endpoint is all methods of one route. One mux route per path, and the method
// chosen here: mux would try every other route for a method it does not know, and
// its 405 has no Allow.
type endpoint struct {
	a                             *api
	get, put, post, patch, delete *operation
	allow                         string
}

func (a *api) endpoint(e endpoint) *endpoint {
	e.a = a
	for _, m := range []struct {
		names string
		op    *operation
	}{{"GET, HEAD", e.get}, {"PUT", e.put}, {"POST", e.post}, {"PATCH", e.patch}, {"DELETE", e.delete}} {
		if m.op == nil {
			continue
		}
		if e.allow != "" {
			e.allow += ", "
		}
		e.allow += m.names
	}
	return &e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var o *operation
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		o = e.get
	case http.MethodPut:
		o = e.put
	case http.MethodPost:
		o = e.post
	case http.MethodPatch:
		o = e.patch
	case http.MethodDelete:
		o = e.delete
	}
	if o == nil {
		c := e.a.newCall(w, r, &operation{name: opOther})
		c.fail(&fault{code: codeMethodNotAllowed, detail: "this route takes " + e.allow, allow: e.allow})
		c.finish()
		return
	}
	e.a.newCall(w, r, o).serve()
}

// Parameters that several operations share.
var (
	readParams  = paramSet(paramR, paramConsistency, paramResolve, paramSloppy, paramKey64)
	writeParams = paramSet(paramW, paramPW, paramTTL, paramSloppy, paramConsistency, paramKey64)
)

// routes builds the router. Paths are matched as they came, escapes and double
// slashes included: cleaning would redirect a key to another one. The key routes
// stand first because mux tries its routes in order.
func (a *api) routes() *mux.Router {
	m := mux.NewRouter().UseEncodedPath().SkipClean(true)
	kv := a.endpoint(endpoint{
		get:    &operation{name: opGet, params: readParams, run: (*call).get},
		put:    &operation{name: opPut, params: writeParams, run: (*call).put, hasBody: true},
		delete: &operation{name: opDelete, params: writeParams &^ paramSet(paramTTL), run: (*call).del},
	})
	a.fast = fastRoad{a, map[string]*operation{http.MethodGet: kv.get, http.MethodHead: kv.get, http.MethodPut: kv.put, http.MethodDelete: kv.delete}}
	m.Handle("/v1/kv/{bucket:[^/]*}/{key:.*}", kv)
	m.Handle("/keys/{key:.*}", kv)
	m.Handle("/keys", kv)
	m.Handle("/v1/kv/{bucket:[^/]*}", a.bucketRoute(kv))

	m.Handle("/v1/inspect/{bucket:[^/]*}/{key:.*}", a.endpoint(endpoint{get: &operation{name: opInspect, params: paramSet(paramKey64), run: (*call).inspect}}))
	m.Handle("/v1/inspect/{bucket:[^/]*}", a.endpoint(endpoint{get: &operation{name: opInspect, params: paramSet(paramKey64), run: (*call).inspect}}))
	counter := a.endpoint(endpoint{
		get:  &operation{name: opCounter, params: paramSet(paramConsistency, paramKey64), run: (*call).counter},
		post: &operation{name: opCounter, params: paramSet(paramKey64), run: (*call).increment, hasBody: true},
	})
	m.Handle("/v1/counter/{bucket:[^/]*}/{key:.*}", counter)
	m.Handle("/v1/counter/{bucket:[^/]*}", counter)
	m.Handle("/v1/buckets", a.endpoint(endpoint{
		get:  &operation{name: opBuckets, run: (*call).listBuckets},
		post: &operation{name: opBuckets, run: (*call).createBucket, hasBody: true},
	}))
	m.Handle("/v1/buckets/{bucket:[^/]*}", a.endpoint(endpoint{
		get:    &operation{name: opBuckets, run: (*call).getBucket},
		patch:  &operation{name: opBuckets, run: (*call).patchBucket, hasBody: true},
		delete: &operation{name: opBuckets, run: (*call).deleteBucket},
	}))
	m.Handle("/v1/cluster", a.endpoint(endpoint{get: &operation{name: opCluster, run: (*call).cluster}}))
	m.Handle("/v1/cluster/ring", a.endpoint(endpoint{get: &operation{name: opRing, run: (*call).ring}}))
	m.Handle("/v1/cluster/primaries", a.endpoint(endpoint{post: &operation{name: opCluster, run: (*call).movePrimary, hasBody: true}}))
	m.Handle("/v1/cluster/recover", a.endpoint(endpoint{post: &operation{name: opCluster, run: (*call).recoverStrong, hasBody: true}}))
	m.Handle("/v1/cluster/locate", a.endpoint(endpoint{get: &operation{name: opLocate, params: paramSet(paramBucket, paramKey, paramKey64), run: (*call).locate}}))
	m.Handle("/v1/hints", a.endpoint(endpoint{get: &operation{name: opHints, params: paramSet(paramPartition), run: (*call).hints}}))
	m.Handle("/v1/repair", a.endpoint(endpoint{
		get:  &operation{name: opRepair, run: (*call).repair},
		post: &operation{name: opRepair, run: (*call).startRepair, hasBody: true},
	}))

	m.Handle("/livez", a.endpoint(endpoint{get: &operation{name: opProbe, params: paramSet(paramVerbose), run: (*call).livez, exempt: true}}))
	m.Handle("/readyz", a.endpoint(endpoint{get: &operation{name: opProbe, params: paramSet(paramVerbose), run: (*call).readyz, exempt: true}}))
	m.Handle("/metrics", a.endpoint(endpoint{get: &operation{name: opMetrics, run: a.metricsPage(), exempt: true}}))
	m.Handle("/openapi.json", a.endpoint(endpoint{get: &operation{name: opOther, run: (*call).openAPI}}))
	a.reserve(m)
	if a.Profile {
		profiles(m)
	}
	m.NotFoundHandler = http.HandlerFunc(a.notFound)
	return m
}

// bucketRoute serves /v1/kv/{bucket}: the list, :get and :batch, and a single key
// that stands in key64.
func (a *api) bucketRoute(kv http.Handler) http.Handler {
	list := a.endpoint(endpoint{get: &operation{name: opList, params: paramSet(paramPrefix, paramStart, paramLimit, paramCursor, paramValues), run: (*call).list}})
	multiGet := a.endpoint(endpoint{post: &operation{name: opMultiGet, params: paramSet(paramR, paramConsistency, paramResolve, paramSloppy), run: (*call).multiGet, hasBody: true}})
	batch := a.endpoint(endpoint{post: &operation{name: opBatch, params: paramSet(paramW, paramPW, paramSloppy, paramConsistency), run: (*call).batch, hasBody: true}})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, action := bucketAction(mux.Vars(r)["bucket"])
		switch {
		case action == "get":
			multiGet.ServeHTTP(w, r)
		case action == "batch":
			batch.ServeHTTP(w, r)
		case action != "":
			a.notFound(w, r)
		case hasKey64(r.URL.RawQuery):
			kv.ServeHTTP(w, r)
		default:
			list.ServeHTTP(w, r)
		}
	})
}

// bucketAction splits "bucket:action", where some client escaped the colon too.
func bucketAction(path string) (bucket, action string) {
	if text, err := url.PathUnescape(path); err == nil {
		if bucket, action, ok := strings.Cut(text, ":"); ok {
			return bucket, action
		}
	}
	return path, ""
}

func hasKey64(raw string) bool {
	return strings.HasPrefix(raw, "key64=") || strings.Contains(raw, "&key64=")
}

func (a *api) notFound(w http.ResponseWriter, r *http.Request) {
	c := a.newCall(w, r, &operation{name: opOther})
	c.fail(refuse(codeNotFound, "no such route; /openapi.json lists them all"))
	c.finish()
}

// reserved are the places the contract keeps for what comes later. They are never
// answered with something weaker.
var reserved = []struct{ path, methods, what string }{
	{"/v1/watch/{bucket:[^/]*}", "GET", "the change stream"},
	{"/v1/cluster/safe-to-stop", "GET", "the check whether nodes may be stopped"},
	{"/v1/cluster/plans", "POST", "topology plans"},
	{"/v1/cluster/plans/{id:[^/]+}", "POST", "topology plans"},
	{"/v1/operations", "GET", "long-running operations"},
	{"/v1/operations/{id:[^/]+}", "GET POST", "long-running operations"},
	{"/v1/nodes/{id:[^/]+}", "POST", "draining and decommissioning of nodes"},
	{"/v1/hotkeys", "GET", "hot-key detection"},
	{"/v1/snapshots", "GET", "snapshots"},
	{"/console", "GET", "the console"},
	{"/console/{page:.*}", "GET", "the console"},
}

func (a *api) reserve(m *mux.Router) {
	for _, route := range reserved {
		answer := &operation{name: opReserved, anyQuery: true, run: func(c *call) {
			c.fail(refuse(codeNotSupported, route.what+": the route is reserved, this version does not serve it yet"))
		}}
		e := endpoint{}
		if strings.Contains(route.methods, "GET") {
			e.get = answer
		}
		if strings.Contains(route.methods, "POST") {
			e.post = answer
		}
		m.Handle(route.path, a.endpoint(e))
	}
}

// profiles serves runtime profiles under the usual paths.
func profiles(m *mux.Router) {
	m.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	m.HandleFunc("/debug/pprof/profile", pprof.Profile)
	m.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	m.HandleFunc("/debug/pprof/trace", pprof.Trace)
	m.PathPrefix("/debug/pprof/").HandlerFunc(pprof.Index)
}
