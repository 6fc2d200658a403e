package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quoratedb/quorate/cmd/quorate/internal/rest"
)

// Strong buckets over real processes: what clients see while primaries come and go.

// strongBucket is the bucket of these tests.
const strongBucket = "s"

// startStrong starts a cluster with a strong bucket whose partitions all have an active
// primary.
func startStrong(t *testing.T, count int) []*tnode {
	t.Helper()
	nodes := startCluster(t, count)
	makeStrong(t, nodes[0])
	awaitPrimaries(t, nodes, 10*time.Second)
	return nodes
}

// makeStrong creates the bucket; the feature level may still have to rise.
func makeStrong(t *testing.T, n *tnode) {
	t.Helper()
	waitFor(t, "a strong bucket is made", readyWithin, func() error {
		_, err := httpDo(t, http.MethodPost, "http://"+n.api+"/v1/buckets", `{"name":"`+strongBucket+`","mode":"strong"}`, 200, 201)
		return err
	})
}

// ringOfNode reads the ring as a node knows it.
func ringOfNode(t *testing.T, n *tnode) *strongRing {
	t.Helper()
	var r strongRing
	text, err := httpDo(t, http.MethodGet, "http://"+n.api+"/v1/cluster/ring", "", 200)
	if err == nil {
		err = json.Unmarshal([]byte(text), &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

// awaitPrimaries waits until every node knows an active primary for every partition,
// with one set of members, and returns how long it took.
func awaitPrimaries(t *testing.T, nodes []*tnode, within time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	for _, n := range nodes {
		waitFor(t, n.name+" knows active primaries of all partitions", within, func() error {
			for _, p := range ringOfNode(t, n).Partitions {
				switch {
				case p.Strong == nil || !p.Strong.Active:
					return fmt.Errorf("partition %d: %+v", p.ID, p.Strong)
				case len(p.Strong.Sets) != 1 || len(p.Strong.Learners) > 0:
					return fmt.Errorf("the members of partition %d are changing: %+v", p.ID, p.Strong)
				}
			}
			return nil
		})
	}
	return time.Since(began)
}

// metricSums adds up the figures of strong buckets over all nodes.
func metricSums(t *testing.T, nodes []*tnode) map[string]float64 {
	t.Helper()
	sums := map[string]float64{}
	for _, n := range nodes {
		for line := range strings.Lines(must(t, http.MethodGet, "http://"+n.api+"/metrics", "", 200)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			if v, err := strconv.ParseFloat(value, 64); err == nil && strings.HasPrefix(name, "quorate_strong_") {
				sums[name] += v
			}
		}
	}
	return sums
}

// primaryOf is the node that leads the partition of a key.
func primaryOf(t *testing.T, n *tnode, key string) string {
	t.Helper()
	var at struct {
		Primary string `json:"primary"`
	}
	text := must(t, http.MethodGet, "http://"+n.api+"/v1/cluster/locate?bucket="+strongBucket+"&key="+key, "", 200)
	if err := json.Unmarshal([]byte(text), &at); err != nil {
		t.Fatal(err)
	}
	return at.Primary
}

// strongDo sends one request on a key of the bucket.
func strongDo(c *http.Client, method, api, key, value string, headers ...string) (status int, etag, body string, err error) {
	req, err := http.NewRequest(method, "http://"+api+rest.KeyPath("/v1/kv/", strongBucket, key), strings.NewReader(value))
	if err != nil {
		return 0, "", "", err
	}
	for _, h := range headers {
		name, v, _ := strings.Cut(h, ": ")
		req.Header.Set(name, v)
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, "", "", err
	}
	b, err := io.ReadAll(res.Body)
	err = cmp.Or(err, res.Body.Close())
	return res.StatusCode, res.Header.Get("ETag"), string(b), err
}

// opSeen is one write or read of a strongLoad.
type opSeen struct {
	key       int
	began     time.Duration // since the load began
	took      time.Duration
	read, ok  bool
	complaint string
}

// strongLoad writes and reads some keys, each by a goroutine of its own, through all
// nodes that are not taken out, and remembers what came of it. Each key holds a number
// that only its goroutine raises, so every read can be held against what was acked.
type strongLoad struct {
	t     *testing.T
	began time.Time
	keys  []string
	stop  chan struct{}
	wg    sync.WaitGroup
	out   []atomic.Bool // nodes that are not asked
	nodes []*tnode
	mu    sync.Mutex
	ops   []opSeen
}

// loadTimeout is the deadline that the requests ask for: longer than any failover.
const loadTimeout = 8 * time.Second

func startLoad(t *testing.T, nodes []*tnode, keys int) *strongLoad {
	l := &strongLoad{t: t, began: time.Now(), keys: names("load-", keys), stop: make(chan struct{}), out: make([]atomic.Bool, len(nodes)), nodes: nodes}
	client := &http.Client{Timeout: loadTimeout + 2*time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: keys}}
	for i := range l.keys {
		l.wg.Go(func() { l.drive(client, i) })
	}
	t.Cleanup(func() { l.end(); client.CloseIdleConnections() })
	return l
}

// end stops the load and gives what it has seen.
func (l *strongLoad) end() []opSeen {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.wg.Wait()
	return l.ops
}

// avoid keeps requests away from a node, or no longer.
func (l *strongLoad) avoid(n *tnode, on bool) {
	for i := range l.nodes {
		if l.nodes[i] == n {
			l.out[i].Store(on)
		}
	}
}

func (l *strongLoad) drive(client *http.Client, key int) {
	acked, tried, turn := 0, 0, key
	for i := key; ; i++ {
		select {
		case <-l.stop:
			return
		default:
		}
		at := i % len(l.nodes)
		if l.out[at].Load() {
			continue
		}
		turn++
		op := opSeen{key: key, began: time.Since(l.began), read: turn%4 == 0}
		if op.read {
			op.ok, op.complaint = l.read(client, at, key, acked, tried)
		} else {
			tried++
			op.ok, op.complaint = l.write(client, at, key, tried)
			if op.ok {
				acked = tried
			}
		}
		op.took = time.Since(l.began) - op.began
		if l.out[at].Load() && !op.ok {
			continue // of a node that is being stopped
		}
		l.mu.Lock()
		l.ops = append(l.ops, op)
		l.mu.Unlock()
		if !op.ok {
			<-time.After(20 * time.Millisecond)
		}
	}
}

func (l *strongLoad) write(c *http.Client, at, key, value int) (bool, string) {
	status, _, body, err := strongDo(c, http.MethodPut, l.nodes[at].api, l.keys[key], strconv.Itoa(value),
		"Quorate-Timeout: "+loadTimeout.String(), "Idempotency-Key: "+rest.NewIdempotencyKey(time.Now()))
	if err != nil || status >= 300 {
		return false, fmt.Sprintf("PUT at %s: %d %s %v", l.nodes[at].name, status, body, err)
	}
	return true, ""
}

// read complains of a value older than what was acked, or newer than what was tried.
func (l *strongLoad) read(c *http.Client, at, key, acked, tried int) (bool, string) {
	status, _, body, err := strongDo(c, http.MethodGet, l.nodes[at].api, l.keys[key], "", "Quorate-Timeout: "+loadTimeout.String())
	if err != nil || status != 200 && status != 404 {
		return false, fmt.Sprintf("GET at %s: %d %s %v", l.nodes[at].name, status, body, err)
	}
	got := 0
	if status == 200 {
		if got, err = strconv.Atoi(body); err != nil {
			l.t.Errorf("key %s holds %q", l.keys[key], body)
		}
	}
	if got < acked || got > tried {
		l.t.Errorf("key %s reads as %d at %s: %d was acknowledged, %d was tried", l.keys[key], got, l.nodes[at].name, acked, tried)
	}
	return true, ""
}

// window is what the load saw of some keys in a time: the longest operation, how many
// there were, and those that failed.
func window(ops []opSeen, from, to time.Duration, of func(key int) bool) (longest time.Duration, count int, failed []string) {
	for _, o := range ops {
		if o.began+o.took < from || o.began > to || !of(o.key) {
			continue
		}
		if count++; !o.ok {
			failed = append(failed, fmt.Sprintf("%v after %v: %s", o.began.Round(time.Millisecond), o.took.Round(time.Millisecond), o.complaint))
			continue
		}
		longest = max(longest, o.took)
	}
	return longest, count, failed
}

func anyKey(int) bool { return true }

// rates are successes a second between two times.
func rate(ops []opSeen, from, to time.Duration) float64 {
	n := 0
	for _, o := range ops {
		if o.ok && o.began >= from && o.began+o.took <= to {
			n++
		}
	}
	return float64(n) / (to - from).Seconds()
}
