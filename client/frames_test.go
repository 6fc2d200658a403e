package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// Everything that is tested of a client at a real cluster holds by frames too.
func TestOverFrames(t *testing.T) {
	realTransport = Frames
	defer func() { realTransport = HTTP }()
	for _, x := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"RoundTrip", TestRoundTrip}, {"AnyKey", TestAnyKey}, {"Siblings", TestSiblings}, {"Session", TestSession}, {"ManyAtOnce", TestManyAtOnce},
		{"Strong", TestStrong}, {"StrongRepeats", TestStrongRepeats}, {"StrongRaces", TestStrongRaces},
	} {
		t.Run(x.name, x.run)
	}
}

// By frames means by frames: nothing of a single key goes by HTTP once the ring is known.
func TestFramesAreUsed(t *testing.T) {
	c := realClient(t, func(c *Config) { c.Transport = Frames })
	link := c.link.(*framesTransport)
	b := bucketOf(t, c, BucketConfig{})
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			if _, err := b.Put(context.Background(), fmt.Sprint(i), []byte("v")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	link.mu.Lock()
	defer link.mu.Unlock()
	if len(link.links) != 3 {
		t.Errorf("links to %d nodes", len(link.links))
	}
	link.http.pools.Range(func(to, p any) bool {
		if to.(*target).frames != "" {
			t.Errorf("HTTP to %s", to.(*target).name)
		}
		return true
	})
}

// A node that cannot be reached by frames is told of at once, and not dialed for
// every request.
func TestFramesBackOff(t *testing.T) {
	var mu sync.Mutex
	dials := 0
	cfg := Config{Endpoints: []string{"127.0.0.1:1"}, Dial: func(context.Context, string, string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		dials++
		return nil, errors.New("nobody there")
	}}
	cfg.fill()
	link, err := newFramesTransport(&cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer link.close()
	to := &target{frames: "127.0.0.1:2"}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for range 50 {
		var p response
		err := link.roundTrip(ctx, to, &request{op: opPut, bucket: "default", key: "k", timeout: time.Second}, &p)
		var ne *netError
		if !errors.As(err, &ne) || ne.sent || !strings.Contains(err.Error(), "nobody there") {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if dials > 10 {
		t.Errorf("%d dials", dials)
	}
}

func TestFramesWithoutTLS(t *testing.T) {
	if _, err := New(Config{Endpoints: []string{"https://127.0.0.1:1"}, Transport: Frames}); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Error(err)
	}
}

// Both transports give the same response, member by member, to requests that change
// nothing.
func TestTransportsAgree(t *testing.T) {
	c := realClient(t)
	b := bucketOf(t, c, BucketConfig{})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	one, err := b.Put(ctx, "one", []byte("value"), ContentType("text/plain"), W(3))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"a", "b", ""} { // on a context that each of them leaves behind
		if _, err := b.Put(ctx, "several", []byte(v), With(must(b.Put(ctx, "several", nil, W(3))).Context), W(3)); err != nil {
			t.Fatal(err)
		}
	}
	gone := must(b.Put(ctx, "gone", []byte("v"), W(3)))
	if _, err := b.Delete(ctx, "gone", With(gone.Context), W(3)); err != nil {
		t.Fatal(err)
	}
	for _, q := range []request{
		{op: opGet, key: "one", r: 3},
		{op: opHead, key: "one", r: 3},
		{op: opGet, key: "one", level: levelAll, sloppy: no, newest: true},
		{op: opGet, key: "one", r: 3, noneMatch: one.ETag},
		{op: opGet, key: "one", r: 3, after: one.Context},
		{op: opGet, key: "several", r: 3},
		{op: opGet, key: "several", r: 3, newest: true},
		{op: opGet, key: "gone", r: 3},
		{op: opGet, key: "never", r: 3},
		{op: opGet, key: "one", r: 9},
		{op: opPut, key: "one", w: 9},
		{op: opPut, key: "one", context: "damaged"},
		{op: opPut, key: "one", context: gone.Context},
		{op: opPut, key: "one", value: make([]byte, 1<<20+1)},
		{op: opPut, key: strings.Repeat("k", 1025)},
		{op: opPut, key: "one", idempotency: "none"},
		{op: opDelete, key: "one", context: "damaged"},
	} {
		q.bucket, q.timeout = b.Name(), 10*time.Second
		to := c.ring.Load().nodes[0].target
		byFrames, err := newFramesTransport(&c.cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		var h, f response
		if err := errors.Join(c.link.roundTrip(ctx, &to, &q, &h), byFrames.roundTrip(ctx, &to, &q, &f)); err != nil {
			t.Fatalf("%s %s: %v", q.op, q.key, err)
		}
		byFrames.close()
		for _, p := range []*response{&h, &f} {
			if p.status >= 400 { // a problem's own type
				p.contentType, p.size = "", 0
			}
			if p.fault != nil {
				p.requestID, p.fault.RequestID = "", ""
			}
		}
		if !reflect.DeepEqual(h, f) {
			t.Errorf("%s %.10s:\n  HTTP   %+v %+v\n  frames %+v %+v", q.op, q.key, h, h.fault, f, f.fault)
		}
	}
}
