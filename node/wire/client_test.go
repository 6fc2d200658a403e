package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/strong"
)

// goldenRequests are requests with each member given, and with none.
func goldenRequests() []ClientRequest {
	return []ClientRequest{
		{Op: ClientGet, Bucket: "default", Key: []byte("key")},
		{Op: ClientHead, Bucket: "b", Key: []byte("k"), R: 2, ReadAfter: "after", IfNoneMatch: `"00"`, Sloppy: core.No, Newest: true, RingVersion: 300},
		{Op: ClientPut, Bucket: "default", Key: []byte("key"), Value: []byte("value"), ContentType: "text/plain", Context: "token", Consistency: "all",
			W: 2, PW: 1, Sloppy: core.Yes, TTL: time.Hour, Timeout: 250 * time.Millisecond, OwnerOnly: true, IfMatch: "*", IdempotencyKey: "1-a", RingVersion: 1},
		{Op: ClientDelete, Bucket: "default", Key: []byte{0, 255}, Context: "token"},
		{Op: ClientRing, IfNoneMatch: `"7"`},
		{Op: ClientIncrement, Bucket: "counters", Key: []byte("k"), Delta: -3, RingVersion: 1, IdempotencyKey: "1-a"},
		{Op: ClientIncrement, Bucket: "counters", Key: []byte("k")},
	}
}

func goldenReplies() []ClientReply {
	return []ClientReply{
		{Status: 204, Outcome: core.Applied, HasETag: true, ETag: 0xdeadbeef, Context: "token", Receipt: ClientReceipt{3, 2, 2, 2, 0, 2},
			RingVersion: 300, HasPlace: true, Epoch: 4, Partition: 129, ServedBy: "n1", RequestID: [16]byte{7}},
		{Status: 200, HasETag: true, Context: "token", Receipt: ClientReceipt{N: 3}, RingVersion: 1, ServedBy: "n1", Siblings: 2, ContentType: "text/plain", Size: 5, Value: []byte("value")},
		{Status: 300, HasETag: true, ETag: 1, Siblings: 2, Values: []ClientSibling{{1, 2, 3, "text/plain", []byte("a")}, {Actor: 4, Counter: 500, HLC: 6}}},
		{Status: 503, Outcome: core.NotApplied, Retryable: true, Code: "quorum_unavailable", Detail: "need 2, got 1", RetryAfter: time.Second, Quorum: true,
			Receipt: ClientReceipt{N: 3, Need: 2, Acks: 1}, Failed: []ClientFailure{{"n2", "unreachable"}, {"n3", "timeout"}}, Owners: []string{"n1", "n2"}, ServedBy: "n1"},
		{Status: 500, Outcome: core.Unknown, Code: "internal"},
		{Status: 200, Strong: ClientStrong{Version: strong.Version{Incarnation: 1, Epoch: 300, Index: 70_000}, Level: core.LevelStale, Stale: true, Applied: 70_001}, Size: 1, Value: []byte("v")},
		{Status: 200, Outcome: core.Applied, Strong: ClientStrong{Again: true, Counted: true, Count: -3}},
		{Status: 404, Code: "key_not_found", Strong: ClientStrong{Level: core.LevelQuorum}},
	}
}

// The bytes of versions 1 and 2, of which the second only adds. A change here breaks
// clients: raise ClientMax, and keep speaking the old ones.
func TestGoldenClientBytes(t *testing.T) {
	var out bytes.Buffer
	for _, q := range goldenRequests() {
		b := AppendClientRequest(nil, &q)
		fmt.Fprintf(&out, "%s %s\n", q.Op, hex.EncodeToString(b))
		var got ClientRequest
		if err := DecodeClientRequest(b, &got, nil); err != nil || !reflect.DeepEqual(got, q) {
			t.Errorf("%+v\ncame back as %+v (%v)", q, got, err)
		}
		if len(b) > ClientRequestSize(&q) {
			t.Errorf("%d bytes, %d were announced", len(b), ClientRequestSize(&q))
		}
	}
	for _, r := range goldenReplies() {
		b := AppendClientReply(nil, &r)
		fmt.Fprintf(&out, "%d %s\n", r.Status, hex.EncodeToString(b))
		var got ClientReply
		if err := DecodeClientReply(b, &got); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v\ncame back as %+v (%v)", r, got, err)
		}
		if len(b) > ClientReplySize(&r) {
			t.Errorf("%d bytes, %d were announced", len(b), ClientReplySize(&r))
		}
		r.Token, r.Context = []byte(r.Context), ""
		if again := AppendClientReply(nil, &r); !bytes.Equal(again, b) {
			t.Errorf("a context from a buffer is encoded as %x, from a string as %x", again, b)
		}
	}
	path := filepath.Join("testdata", "client1.hex")
	if *rewrite {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")); !bytes.Equal(out.Bytes(), want) {
		t.Errorf("the format has changed; now:\n%s\nbefore:\n%s", out.Bytes(), want)
	}
}

func TestClientRequestBounds(t *testing.T) {
	for name, q := range map[string]ClientRequest{
		"bucket":  {Op: ClientGet, Bucket: strings.Repeat("b", 256)},
		"key":     {Op: ClientGet, Key: make([]byte, MaxClientKey+1)},
		"value":   {Op: ClientPut, Value: make([]byte, MaxClientValue+1)},
		"context": {Op: ClientPut, Context: strings.Repeat("c", MaxClientText+1)},
		"count":   {Op: ClientPut, W: 1 << 31},
		"ttl":     {Op: ClientPut, TTL: -1},
		"timeout": {Op: ClientPut, Timeout: -1},
	} {
		if err := q.Check(); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	most := ClientRequest{Op: ClientPut, Bucket: strings.Repeat("b", 255), Key: make([]byte, MaxClientKey), Value: make([]byte, core.MaxValue), W: 1<<31 - 1}
	for _, text := range most.texts() {
		*text = strings.Repeat("t", MaxClientText)
	}
	b := AppendClientRequest(nil, &most)
	var got ClientRequest
	if err := most.Check(); err != nil || len(b) > MaxClientRequest || DecodeClientRequest(b, &got, nil) != nil {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func FuzzDecodeClientRequest(f *testing.F) {
	for _, q := range goldenRequests() {
		f.Add(AppendClientRequest(nil, &q))
	}
	f.Add([]byte{1, 0, 0, 255, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var q, cached ClientRequest
		if DecodeClientRequest(b, &q, nil) != nil {
			return
		}
		if again := AppendClientRequest(nil, &q); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %+v, which is %x", b, q, again)
		}
		cache := TextCache{last: "before"}
		for range 2 {
			if err := DecodeClientRequest(b, &cached, &cache); err != nil || !reflect.DeepEqual(cached, q) {
				t.Fatalf("with a cache: %+v, without: %+v (%v)", cached, q, err)
			}
		}
	})
}

func FuzzDecodeClientReply(f *testing.F) {
	for _, r := range goldenReplies() {
		f.Add(AppendClientReply(nil, &r))
	}
	f.Add(bytes.Repeat([]byte{0xff}, 60))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r ClientReply
		if DecodeClientReply(b, &r) != nil {
			return
		}
		if again := AppendClientReply(nil, &r); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %+v, which is %x", b, r, again)
		}
	})
}

// What a PUT and a GET cost in allocations on either side.
func TestClientAllocations(t *testing.T) {
	put := ClientRequest{Op: ClientPut, Bucket: "default", Key: []byte("user:0000012345"), Value: make([]byte, 80), ContentType: "application/octet-stream", Timeout: time.Second}
	get := ClientReply{Status: 200, HasETag: true, ETag: 5, Context: strings.Repeat("c", 80), Receipt: ClientReceipt{N: 3, Need: 2, Acks: 2, Owners: 2},
		RingVersion: 9, HasPlace: true, Epoch: 3, Partition: 4, ServedBy: "n1", ContentType: "application/octet-stream", Size: 80, Value: make([]byte, 80)}
	request, reply := AppendClientRequest(nil, &put), AppendClientReply(nil, &get)
	var cache TextCache
	var q ClientRequest
	var r ClientReply
	for name, c := range map[string]struct {
		want float64
		run  func()
	}{
		"encode a request":            {0, func() { request = AppendClientRequest(request[:0], &put) }},
		"encode a reply":              {0, func() { reply = AppendClientReply(reply[:0], &get) }},
		"decode a request":            {1, func() { _ = DecodeClientRequest(request, &q, nil) }},
		"decode a request with cache": {0, func() { _ = DecodeClientRequest(request, &q, &cache) }},
		"decode a reply":              {1, func() { _ = DecodeClientReply(reply, &r) }},
	} {
		if got := testing.AllocsPerRun(100, c.run); got != c.want {
			t.Errorf("%s: %v allocations, %v are needed", name, got, c.want)
		}
	}
}

func BenchmarkClient(b *testing.B) {
	put := goldenRequests()[2]
	get := goldenReplies()[1]
	request, reply := AppendClientRequest(nil, &put), AppendClientReply(nil, &get)
	var cache TextCache
	var q ClientRequest
	var r ClientReply
	for name, run := range map[string]func(){
		"encode_request": func() { request = AppendClientRequest(request[:0], &put) },
		"decode_request": func() { _ = DecodeClientRequest(request, &q, &cache) },
		"encode_reply":   func() { reply = AppendClientReply(reply[:0], &get) },
		"decode_reply":   func() { _ = DecodeClientReply(reply, &r) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}
