package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

func serving(f func(ctx context.Context, from Hello, method string, payload []byte) ([]byte, error)) func(*Config) {
	return func(c *Config) { c.Control = f }
}

func TestCall(t *testing.T) {
	b := start(t, 2, serving(func(_ context.Context, from Hello, method string, p []byte) ([]byte, error) {
		switch method {
		case "echo":
			return append([]byte(from.Node+":"), p...), nil
		case "typed":
			return nil, &RemoteError{"not_leader", "node3 is"}
		}
		return nil, errors.New("plain")
	}))
	// A node without a cluster may call, and be called.
	none := hello(1)
	none.Cluster = hashring.ClusterID{}
	a := start(t, 1, as(none))
	addr := b.Addr().String()
	got, err := a.Call(t.Context(), addr, "echo", []byte("hi"))
	if err != nil || string(got) != "node1:hi" {
		t.Errorf("%q, %v", got, err)
	}
	var remote *RemoteError
	if _, err = a.Call(t.Context(), addr, "typed", nil); !errors.As(err, &remote) || *remote != (RemoteError{"not_leader", "node3 is"}) {
		t.Errorf("%v", err)
	}
	if _, err = a.Call(t.Context(), addr, "other", nil); !errors.As(err, &remote) || *remote != (RemoteError{CodeFailed, "plain"}) {
		t.Errorf("%v", err)
	}
	// Itself is as good an address as another.
	if got, err = b.Call(t.Context(), addr, "echo", nil); err != nil || string(got) != "node2:" {
		t.Errorf("%q, %v", got, err)
	}
	foreign := hello(3)
	foreign.Cluster = hashring.ClusterID{9}
	var no *RefusedError
	if _, err = start(t, 3, as(foreign)).Call(t.Context(), addr, "echo", nil); !errors.As(err, &no) || no.Code != RefusedCluster {
		t.Errorf("%v", err)
	}
}

func TestCallLimits(t *testing.T) {
	b := start(t, 2, serving(func(_ context.Context, _ Hello, method string, p []byte) ([]byte, error) {
		if method == "grow" {
			return make([]byte, maxCall+1), nil
		}
		return p, nil
	}))
	a := start(t, 1)
	addr := b.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), callMax) // the race detector is slow
	defer cancel()
	big := bytes.Repeat([]byte("ring"), maxCall/4)
	if got, err := a.Call(ctx, addr, "echo", big); err != nil || !bytes.Equal(got, big) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := a.Call(t.Context(), addr, "echo", append(big, 0)); err == nil {
		t.Error("a payload above the bound was sent")
	}
	var remote *RemoteError
	if _, err := a.Call(ctx, addr, "grow", nil); !errors.As(err, &remote) || remote.Code != CodeTooLarge {
		t.Errorf("%v", err)
	}
}

// The caller's deadline, or its hanging up, ends the handler's context.
func TestCallDeadlineAndCancel(t *testing.T) {
	entered, ended := make(chan time.Duration, 2), make(chan error, 2)
	b := start(t, 2, serving(func(ctx context.Context, _ Hello, _ string, _ []byte) ([]byte, error) {
		end, _ := ctx.Deadline()
		entered <- time.Until(end)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}))
	a := start(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := a.Call(ctx, b.Addr().String(), "wait", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if left := <-entered; left <= 0 || left > 100*time.Millisecond {
		t.Errorf("the handler has %s", left)
	}
	<-ended
	ctx, cancel = context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := a.Call(ctx, b.Addr().String(), "wait", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
	if left := <-entered; left > callTimeout || left < callTimeout/2 {
		t.Errorf("the handler has %s", left)
	}
	cancel()
	wg.Wait()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCallsAreBounded(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, maxCalls)
	b := start(t, 2, serving(func(context.Context, Hello, string, []byte) ([]byte, error) {
		entered <- struct{}{}
		<-release
		return nil, nil
	}))
	a := start(t, 1)
	var wg sync.WaitGroup
	for range maxCalls {
		wg.Go(func() {
			if _, err := a.Call(t.Context(), b.Addr().String(), "x", nil); err != nil {
				t.Error(err)
			}
		})
	}
	for range maxCalls {
		<-entered
	}
	var no *RefusedError
	if _, err := a.Call(t.Context(), b.Addr().String(), "x", nil); !errors.As(err, &no) || no.Code != RefusedBusy {
		t.Errorf("%v", err)
	}
	close(release)
	wg.Wait()
}

func TestCloseEndsCalls(t *testing.T) {
	entered := make(chan struct{})
	b := start(t, 2, serving(func(ctx context.Context, _ Hello, _ string, _ []byte) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	a := start(t, 1)
	failed := make(chan error, 1)
	go func() {
		_, err := a.Call(t.Context(), b.Addr().String(), "x", nil)
		failed <- err
	}()
	<-entered
	_ = a.Close()
	if err := <-failed; err == nil {
		t.Error("the call succeeded")
	}
	_ = b.Close()
}

func TestRaftStreams(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	if a.Raft().Addr().String() != a.Addr().String() {
		t.Error("another address")
	}
	out, err := a.Raft().Dial(b.Addr().String(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := b.Raft().Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := out.Write([]byte("raw bytes")); err != nil {
		t.Fatal(err)
	}
	var got [9]byte
	if _, err := io.ReadFull(in, got[:]); err != nil || string(got[:]) != "raw bytes" {
		t.Errorf("%q, %v", got, err)
	}
	waiting, err := a.Raft().Dial(b.Addr().String(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	_ = b.Raft().Close()
	if _, err := b.Raft().Accept(); err == nil {
		t.Error("accepted after Close")
	}
	isClosed(t, waiting)
	if _, err := a.Call(t.Context(), b.Addr().String(), "x", nil); err != nil {
		t.Errorf("the transport has ended with the layer: %v", err)
	}
}
