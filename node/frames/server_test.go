package frames

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

func TestPutGetDelete(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial(DialConfig{})
	if i := c.Info(); i.Node != "n1" || i.Cluster != testSID(99) || i.SID != testSID(1) || i.Version != wire.ClientMax || i.MaxValue != 1<<20 || i.MaxInFlight != DefaultMaxInFlight {
		t.Errorf("%+v", i)
	}
	w := do(t, c, put("k", []byte("value")))
	if w.Status != 204 || w.Outcome != core.Applied || !w.HasETag || w.Context == "" || w.ServedBy != "n1" || w.RingVersion == 0 ||
		!w.HasPlace || w.Partition != 2 || w.Receipt != (wire.ClientReceipt{N: 1, Need: 1, Acks: 1, Owners: 1, Synced: 1}) || w.RequestID == [16]byte{} {
		t.Errorf("%+v", w)
	}
	if g := do(t, c, get("k")); g.Status != 200 || string(g.Value) != "value" || g.Size != 5 || g.ContentType != "application/octet-stream" || g.ETag != w.ETag {
		t.Errorf("%+v", g)
	}
	head := get("k")
	head.Op = wire.ClientHead
	if g := do(t, c, head); g.Status != 200 || g.Value != nil || g.Size != 5 {
		t.Errorf("%+v", g)
	}
	again := get("k")
	again.IfNoneMatch = api.ETag(w.ETag)
	if g := do(t, c, again); g.Status != 304 || g.Value != nil || g.ContentType != "" {
		t.Errorf("%+v", g)
	}
	del := get("k")
	del.Op = wire.ClientDelete
	if d := do(t, c, del); d.Status != 204 {
		t.Errorf("%+v", d)
	}
	if g := do(t, c, get("k")); g.Status != 404 || g.Code != "key_not_found" || g.Outcome != core.OutcomeNone {
		t.Errorf("%+v", g)
	}
}

func TestRing(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial(DialConfig{})
	rep := do(t, c, wire.ClientRequest{Op: wire.ClientRing})
	var ring api.RingView
	if err := json.Unmarshal(rep.Value, &ring); err != nil || ring.RingVersion != rep.RingVersion || len(ring.Nodes) != 1 || ring.Nodes[0].Frames != "127.0.0.1:7403" {
		t.Errorf("%+v: %s", rep, rep.Value)
	}
	if rep = do(t, c, wire.ClientRequest{Op: wire.ClientRing, IfNoneMatch: api.RingETag(rep.RingVersion)}); rep.Status != 304 || rep.Value != nil {
		t.Errorf("%+v", rep)
	}
}

// Replies come in the order in which they are ready: nobody waits for another.
func TestPipelining(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial(DialConfig{})
	do(t, c, put("k", []byte("v")))
	r.f.mu.Lock()
	r.f.hold = true
	r.f.mu.Unlock()
	const n = 100
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if rep, err := try(c, get("k")); err != nil || string(rep.Value) != "v" {
				t.Errorf("%+v, %v", rep, err)
			}
		})
	}
	eventually(t, "all requests are at the backend at once", func() bool { return r.f.holding() == n })
	r.f.release()
	all.Wait()
	if c.InFlight() != 0 {
		t.Errorf("%d in flight", c.InFlight())
	}
}

// Many goroutines on one connection, values of all sizes, each read back.
func TestManyAtOnce(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxValue = core.MaxValue })
	c := r.dial(DialConfig{})
	var all sync.WaitGroup
	for g := range 32 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(g)))
			for i := range 40 {
				n := rng.IntN(200)
				if i%8 == 0 {
					n = rng.IntN(600 << 10)
				}
				value := bytes.Repeat([]byte{byte(g), byte(i)}, n)
				key := fmt.Sprintf("%d-%d", g, i%5)
				if rep, err := try(c, put(key, value)); err != nil || rep.Status != 204 {
					t.Errorf("put %d bytes: %+v, %v", len(value), rep, err)
					return
				}
				if rep, err := try(c, get(key)); err != nil || !bytes.Equal(rep.Value, value) {
					t.Errorf("get: %d bytes instead of %d, %v", len(rep.Value), len(value), err)
					return
				}
			}
		})
	}
	all.Wait()
	if s := r.s.Stats(); s.Writes >= s.Requests || s.Cut != 0 {
		t.Errorf("replies do not share writes: %+v", s)
	}
}

func TestRefusals(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial(DialConfig{})
	long := strings.Repeat("k", core.MaxKey+1)
	for _, x := range []struct {
		code    string
		status  uint16
		outcome core.Outcome
		q       wire.ClientRequest
	}{
		{"invalid_argument", 400, core.NotApplied, wire.ClientRequest{Op: wire.ClientGet, Bucket: "UPPER", Key: []byte("k")}},
		{"invalid_argument", 400, core.NotApplied, wire.ClientRequest{Op: wire.ClientGet, Bucket: "default"}},
		{"key_too_long", 414, core.NotApplied, get(long)},
		{"bucket_not_found", 404, core.OutcomeNone, wire.ClientRequest{Op: wire.ClientGet, Bucket: "none", Key: []byte("k")}},
		{"bucket_not_found", 404, core.NotApplied, wire.ClientRequest{Op: wire.ClientPut, Bucket: "none", Key: []byte("k")}},
		{"value_too_large", 413, core.NotApplied, put("k", make([]byte, 1<<20+1))},
		{"value_too_large", 413, core.NotApplied, put("k", make([]byte, core.MaxValue+100<<10))},
		{"context_invalid", 400, core.NotApplied, wire.ClientRequest{Op: wire.ClientPut, Bucket: "default", Key: []byte("k"), Context: "junk"}},
		{"conditional_needs_strong", 422, core.NotApplied, wire.ClientRequest{Op: wire.ClientPut, Bucket: "default", Key: []byte("k"), IfNoneMatch: "*"}},
		{"unknown_parameter", 400, core.NotApplied, wire.ClientRequest{Op: wire.ClientGet, Bucket: "default", Key: []byte("k"), W: 2}},
		{"invalid_argument", 400, core.NotApplied, wire.ClientRequest{Op: wire.ClientDelete, Bucket: "default", Key: []byte("k"), Value: []byte("v")}},
		{"invalid_argument", 400, core.NotApplied, wire.ClientRequest{Op: wire.ClientGet, Bucket: "default", Key: []byte("k"), Consistency: "one", R: 2}},
	} {
		if rep := do(t, c, x.q); rep.Code != x.code || rep.Status != x.status || rep.Outcome != x.outcome || rep.Detail == "" || rep.ServedBy != "n1" || rep.RequestID == [16]byte{} {
			t.Errorf("want %s, got %+v", x.code, rep)
		}
	}
	if r.f.refreshed != 2 {
		t.Errorf("%d ring fetches, want one for each unknown bucket", r.f.refreshed)
	}
	if _, err := try(c, put("k", make([]byte, wire.MaxClientValue+1))); !errors.Is(err, wire.ErrTooLarge) || !errors.Is(err, ErrNotSent) {
		t.Error(err)
	}
	if rep := do(t, c, put("k", []byte("still served"))); rep.Status != 204 {
		t.Errorf("%+v", rep)
	}
}

// A bucket just made elsewhere, and a ring the client has seen, are fetched once.
func TestNewerRing(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial(DialConfig{})
	next, err := r.f.ring.State.Apply(r.f.ring.Version+1, hashring.Command{Kind: hashring.KindCreateBucket, CreateBucket: &hashring.Bucket{Name: "fresh"}})
	if err != nil {
		t.Fatal(err)
	}
	r.f.newer = hashring.NewRing(next)
	q := put("k", []byte("v"))
	q.Bucket = "fresh"
	if rep := do(t, c, q); rep.Status != 204 {
		t.Errorf("%+v", rep)
	}
	q.RingVersion = next.Version
	if do(t, c, q); r.f.refreshed != 1 {
		t.Errorf("%d fetches", r.f.refreshed)
	}
	q.RingVersion++
	if do(t, c, q); r.f.refreshed != 2 {
		t.Errorf("%d fetches", r.f.refreshed)
	}
}

func TestLimits(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxInFlight, c.MaxBytes = 4, 200<<10 })
	c := r.dial(DialConfig{})
	r.f.mu.Lock()
	r.f.hold = true
	r.f.mu.Unlock()
	c.slots, c.free = make([]slot, 8), []uint32{7, 6, 5, 4, 3, 2, 1, 0} // a client that does not heed the limit
	var all sync.WaitGroup
	var mu sync.Mutex
	codes := map[string]int{}
	for range 6 {
		all.Go(func() {
			rep, err := try(c, put("k", nil))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			codes[rep.Code]++
			if rep.Code == "overloaded" && (rep.Outcome != core.NotApplied || !rep.Retryable || rep.RetryAfter != 100*time.Millisecond || rep.Status != 503) {
				t.Errorf("%+v", rep)
			}
		})
	}
	eventually(t, "four are served, two shed", func() bool { return r.f.holding() == 4 && r.s.Stats().Shed == 2 })
	r.f.release()
	all.Wait()
	if codes["overloaded"] != 2 || codes[""] != 4 {
		t.Errorf("%v", codes)
	}
	if rep := do(t, c, put("k", make([]byte, 300<<10))); rep.Code != "overloaded" {
		t.Errorf("%+v", rep)
	}
	if rep := do(t, c, put("k", make([]byte, 100<<10))); rep.Status != 204 {
		t.Errorf("%+v", rep)
	}
}

func TestDrain(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial(DialConfig{})
	idle := r.dial(DialConfig{})
	r.f.mu.Lock()
	r.f.hold = true
	r.f.mu.Unlock()
	got := make(chan error, 1)
	go func() {
		rep, err := try(c, put("k", []byte("v")))
		if err == nil && rep.Status != 204 {
			err = fmt.Errorf("%+v", rep)
		}
		got <- err
	}()
	eventually(t, "the request is there", func() bool { return r.f.holding() == 1 })
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ended <- r.s.Shutdown(ctx)
	}()
	<-idle.Done() // it had nothing under way
	eventually(t, "told to go", func() bool { return !c.Usable() })
	if _, err := try(c, get("k")); !errors.Is(err, ErrGoAway) || !errors.Is(err, ErrNotSent) {
		t.Error(err)
	}
	r.f.release()
	if err := <-got; err != nil {
		t.Error("the request in flight: ", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := r.tryDial(DialConfig{}); err == nil {
		t.Error("somebody was let in after the drain")
	}
}

// A drain that takes too long ends.
func TestDrainEnds(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial(DialConfig{})
	r.f.mu.Lock()
	r.f.hold = true
	r.f.mu.Unlock()
	got := make(chan error, 1)
	go func() {
		_, err := try(c, put("k", []byte("v")))
		got <- err
	}()
	eventually(t, "the request is there", func() bool { return r.f.holding() == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-got; err == nil || errors.Is(err, ErrNotSent) {
		t.Errorf("it may have been applied: %v", err)
	}
	r.f.release() // a late reply finds nobody
}

func TestIdleConnectionIsClosed(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Idle = tick })
	c := r.dial(DialConfig{})
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("still open")
	}
	if !errors.Is(c.Err(), ErrGoAway) {
		t.Error(c.Err())
	}
}

// A client that does not read its replies is stopped first, and cut off at last.
func TestSlowReader(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxValue, c.Stall = core.MaxValue, tick })
	c := r.dial(DialConfig{})
	do(t, c, put("big", make([]byte, core.MaxValue)))
	nc := rawDial(t, r)
	defer nc.Close()
	q := get("big")
	message := appendFrame(nil, frameMessage, 0, wire.AppendClientRequest(nil, &q))
	for id := range uint32(100) {
		copy(message[8:], []byte{0, 0, 0, byte(id)})
		sealFrame(message, 0, frameMessage)
		if _, err := nc.Write(message); err != nil {
			break
		}
	}
	eventually(t, "cut off", func() bool { return r.s.Stats().Cut == 1 })
	eventually(t, "the reason is logged", func() bool { return strings.Contains(r.l.String(), errSlow.Error()) })
}

// rawDial is a client that has said hello and does nothing by itself.
func rawDial(t *testing.T, r *rig) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", r.s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cfg := DialConfig{}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, _, err := cfg.greet(ctx, nc); err != nil {
		t.Fatal(err)
	}
	return nc
}

// What breaks the framing ends the connection; what is odd inside does not.
func TestGarbage(t *testing.T) {
	r := newRig(t, nil)
	good := get("k")
	for name, bad := range map[string][]byte{
		"checksum":   append(appendFrame(nil, frameMessage, 0, []byte("x"))[:frameHead], 'y'),
		"type":       appendFrame(nil, 9, 0, nil),
		"pong":       appendFrame(nil, framePong, 0, nil),
		"length":     {0, 0, 0, 0, frameMessage, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"no first":   appendFrame(nil, frameNext, 0, []byte("x")),
		"no chunk":   appendFrame(nil, frameFirst, 0, []byte{0, 0, 0, 9}),
		"absurd":     appendFrame(nil, frameFirst, 0, []byte{0xff, 0xff, 0xff, 0xff, 1}),
		"more":       appendFrame(nil, frameFirst, 0, []byte{0, 0, 0, 1, 1, 2}),
		"not a text": []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		nc := rawDial(t, r)
		before := r.s.Stats().Cut
		if _, err := nc.Write(bad); err != nil {
			t.Fatal(err)
		}
		eventually(t, name, func() bool { return r.s.Stats().Cut == before+1 })
		_ = nc.Close()
	}
	c := r.dial(DialConfig{})
	c.mu.Lock() // a payload that does not decode
	id := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	s := &c.slots[id]
	s.ch, s.state = make(chan struct{}, 1), slotWaits
	c.buf = appendFrame(c.buf, frameMessage, id, []byte{99})
	c.bytes += frameHead + 1
	c.mu.Unlock()
	wake(c.wake)
	<-s.ch
	if s.reply.Code != "invalid_argument" || s.reply.Status != 400 {
		t.Errorf("%+v", s.reply)
	}
	if rep := do(t, c, good); rep.Status != 404 {
		t.Errorf("%+v", rep)
	}
}

func TestPing(t *testing.T) {
	r := newRig(t, nil)
	nc := rawDial(t, r)
	defer nc.Close()
	if _, err := nc.Write(appendFrame(nil, framePing, 7, nil)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, frameHead)
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := nc.Read(b); err != nil {
		t.Fatal(err)
	}
	if f, _, err := parseFrame(b); err != nil || f.kind != framePong || f.id != 7 {
		t.Errorf("%+v, %v", f, err)
	}
}
