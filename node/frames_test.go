package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/frames"
)

// A port that others could reach is not served without a token, and says so.
func TestFramesPort(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		frames, token string
		want          error
	}{
		{"", "", nil}, {"127.0.0.1:0", "", nil}, {"127.0.0.1:0", token, nil}, {"0.0.0.0:0", token, nil},
		{"0.0.0.0:0", "", frames.ErrNeedsToken}, {"127.0.0.1:0", token + "-none", os.ErrNotExist},
	} {
		l, _, err := framesPort(Config{Frames: c.frames, FramesTokenFile: c.token}, seams{})
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || (l != nil) != (err == nil && c.frames != "") {
			t.Errorf("%s with token %q: %v", c.frames, c.token, err)
		}
		if err != nil && !strings.Contains(err.Error(), "--frames") {
			t.Errorf("the flag is not named: %v", err)
		}
		if l != nil {
			_ = l.Close()
		}
	}
}

// answered collects the replies of requests that were handed over together.
type answered []core.Code

func (a *answered) Reply(r *core.Reply) { *a = append(*a, r.Code) }

// What comes together goes into a shard's mailbox together, as much as there is room
// for; the rest, and everything for a shard that does not keep up, is refused.
func TestSubmitTogether(t *testing.T) {
	r := &router{}
	for range 2 {
		r.shards = append(r.shards, &shard{mailbox: newQueue[core.Event]()})
	}
	requests := func(n int, w frames.Waiter) (out []*core.Request) {
		for i := range n {
			out = append(out, &core.Request{Op: core.OpPut, Bucket: hashring.DefaultBucket, Key: []byte{byte(i)}, Waiter: w})
		}
		return out
	}
	var got answered
	b := backend{&Node{router: r}}
	b.Submit(nil, requests(3*submitRoom+1, &got)) // without a ring all belong to the first shard
	if n := len(r.shards[0].mailbox.take(nil)); n != 3*submitRoom+1 || len(got) != 0 {
		t.Errorf("%d requests and %v", n, got)
	}
	for range maxMailbox - 2 {
		r.shards[0].mailbox.put(core.Event{}, 0)
	}
	b.Submit(nil, requests(5, &got))
	if len(got) != 3 || got[0] != core.Overloaded || len(r.shards[0].mailbox.take(nil)) != maxMailbox {
		t.Errorf("refused: %v", got)
	}
	got = nil
	r.shards[0].mailbox.until.Store(int64(time.Hour))
	b.Submit(nil, requests(5, &got))
	if len(got) != 5 || len(r.shards[0].mailbox.take(nil)) != 0 {
		t.Errorf("a late shard takes more: %v", got)
	}
}
