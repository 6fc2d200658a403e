package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quoratedb/quorate/hashring"
)

const listed = 150

// manyKeys fills a bucket over all partitions: k000, k001, ... with their own names
// as values, and some that a list must not show.
func (w *world) manyKeys(bucket string) (keys []string) {
	for i := range listed {
		key := fmt.Sprintf("k%03d", i)
		w.put("a", bucket, key, key, wOf(All))
		if i%10 == 3 {
			w.del("a", bucket, key, wOf(All))
			continue
		}
		keys = append(keys, key)
	}
	w.put("a", bucket, "gone", "v", ttl(time.Millisecond), wOf(All))
	w.put("a", "lww", "k-of-another-bucket", "v", wOf(All))
	w.run(time.Second)
	return keys
}

// pages walks a bucket to its end, page by page.
func (w *world) pages(at string, l ListRequest, bucket string) (keys []string, pages int) {
	w.t.Helper()
	for {
		r := w.do(w.node(at), &Request{Op: OpList, Bucket: bucket, List: l})
		if r.Code != OK || !r.List.Complete {
			w.t.Fatalf("page %d: %v, %+v", pages, r.Code, r.List)
		}
		if len(r.List.Rows) > l.Limit {
			w.t.Fatalf("%d rows, limit %d", len(r.List.Rows), l.Limit)
		}
		for _, row := range r.List.Rows {
			keys = append(keys, string(row.Key))
			if got := values(row.Object, w.wall()); l.Values && (len(got) != 1 || got[0] != string(row.Key)) {
				w.t.Fatalf("%s has %v", row.Key, got)
			}
		}
		pages++
		if r.List.Next == nil {
			return keys, pages
		}
		l.After = r.List.Next
	}
}

// A list is in key order over all partitions, whoever is asked and whatever the page
// size; tombstones, expired values and other buckets are not in it.
func TestListsAreOrderedAndWhole(t *testing.T) {
	w := newWorld(t, "abcde", 7)
	keys := w.manyKeys("strict")
	for _, limit := range []int{1, 7, 100, MaxListLimit} {
		for _, at := range []string{"a", "e"} {
			got, _ := w.pages(at, ListRequest{Limit: limit, Values: true}, "strict")
			if !slices.Equal(got, keys) {
				t.Fatalf("limit %d at %s: %v", limit, at, got)
			}
		}
	}
	if got, n := w.pages("b", ListRequest{Limit: listed}, "sloppy"); len(got) != 0 || n != 1 {
		t.Errorf("an empty bucket lists %v in %d pages", got, n)
	}
}

// prefix, start (inclusive) and after (exclusive) narrow it together.
func TestListsAreNarrowed(t *testing.T) {
	w := newWorld(t, "abcde", 7)
	keys := w.manyKeys("strict")
	for name, c := range map[string]struct {
		l    ListRequest
		want func(k string) bool
	}{
		"prefix":         {ListRequest{Prefix: []byte("k01")}, func(k string) bool { return strings.HasPrefix(k, "k01") }},
		"start":          {ListRequest{Start: []byte("k100")}, func(k string) bool { return k >= "k100" }},
		"after":          {ListRequest{After: []byte("k100")}, func(k string) bool { return k > "k100" }},
		"start, between": {ListRequest{Start: []byte("k0995")}, func(k string) bool { return k > "k0995" }},
		"all three": {ListRequest{Prefix: []byte("k1"), Start: []byte("k105"), After: []byte("k110")},
			func(k string) bool { return k > "k110" }},
		"after before start": {ListRequest{Start: []byte("k105"), After: []byte("k101")}, func(k string) bool { return k >= "k105" }},
		"nothing":            {ListRequest{Prefix: []byte("z")}, func(string) bool { return false }},
	} {
		var want []string
		for _, k := range keys {
			if c.want(k) {
				want = append(want, k)
			}
		}
		for _, limit := range []int{3, listed} {
			c.l.Limit = limit
			if got, _ := w.pages("d", c.l, "strict"); !slices.Equal(got, want) {
				t.Errorf("%s, limit %d: %v, want %v", name, limit, got, want)
			}
		}
	}
}

// An owner that is down, refuses or is silent is replaced by the next; when none of a
// partition's owners answers, the list says that it is not complete.
func TestListsWithOwnersDown(t *testing.T) {
	w := newWorld(t, "abcde", 5)
	keys := w.manyKeys("strict")
	w.step(w.node("b"), Event{Drain: true}) // still answers its peers
	w.crash(w.node("c"), false)
	w.start(w.node("c"), false) // not confirmed: refuses
	w.view("", "abce")          // d is known to be down
	w.fate = cut(drop, "a", "e", MsgScanReply)
	begin := w.now
	got, _ := w.pages("e", ListRequest{Limit: listed}, "strict")
	if !slices.Equal(got, keys) {
		t.Errorf("%d of %d keys", len(got), len(keys))
	}
	if took := w.now - begin; took > 2*scanAfter {
		t.Errorf("took %v", took)
	}
	w.fate = nil
	w.view("", "ae")
	r := w.do(w.node("e"), &Request{Op: OpList, Bucket: "strict", List: ListRequest{Limit: listed}})
	if r.Code != OK || r.List.Complete || len(r.List.Rows) >= len(keys) || len(r.List.Rows) == 0 {
		t.Errorf("partitions b, c and d own alone are missing: %v, complete %v, %d rows", r.Code, r.List.Complete, len(r.List.Rows))
	}
	for _, row := range r.List.Rows {
		p := w.ring.PartitionOf(hashring.Hash("strict", row.Key))
		if p == 1 {
			t.Errorf("%s is of the partition that nobody could read", row.Key)
		}
	}
}

// A connection that is lost while a slice is out moves on at once.
func TestListsGoOnWhenAnOwnerGoesDown(t *testing.T) {
	w := newWorld(t, "abcde", 5)
	keys := w.manyKeys("strict")
	w.fate = cut(drop, "a", "e", MsgScanReply)
	c := w.ask(w.node("e"), &Request{Op: OpList, Bucket: "strict", List: ListRequest{Limit: listed}})
	w.run(20 * time.Millisecond)
	w.step(w.node("e"), Event{Down: sidOf("a")})
	r := w.wait(c)
	if len(r.List.Rows) != len(keys) || !r.List.Complete {
		t.Errorf("%d rows, complete %v", len(r.List.Rows), r.List.Complete)
	}
	if took := c.ended - c.began; took > 50*time.Millisecond {
		t.Errorf("took %v", took)
	}
}

// When everybody is silent the deadline ends it, and leaves nothing behind.
func TestListsEndAtTheirDeadline(t *testing.T) {
	w := newWorld(t, "abcde", 5)
	w.fate = cut(drop, everybody, everybody)
	c := w.ask(w.node("e"), &Request{Op: OpList, Bucket: "strict", List: ListRequest{Limit: 10}, Timeout: 600 * time.Millisecond})
	r := w.wait(c)
	w.expect("list", w.show(r), "read_quorum_timeout")
	w.run(5 * time.Second)
	if s := w.node("e").core.Stats(); s.Ops != 0 {
		t.Errorf("%d in flight", s.Ops)
	}
	c = w.ask(w.node("e"), &Request{Op: OpList, Bucket: "strict", List: ListRequest{Limit: 10}, Timeout: time.Minute})
	if r := w.wait(c); r.Code != OK || r.List.Complete {
		t.Errorf("with more time: %v, %+v", r.Code, r.List)
	}
}

// A replica whose record is quarantined does not list around it.
func TestListsDoNotSkipCorruptRecords(t *testing.T) {
	w := newWorld(t, "abc", 1)
	w.put("a", "strict", "k1", "k1", wOf(3))
	w.put("a", "strict", "k2", "k2", wOf(3))
	w.node("a").disk.corrupt[rowKey{bucket: 3, key: "k1"}] = true
	if got, _ := w.pages("a", ListRequest{Limit: 10}, "strict"); len(got) != 2 {
		t.Errorf("listed %v", got)
	}
}

// inspect shows every owner and every stand-in that keeps something, in all states,
// repairs nothing, and compares with the join of the owners that answered.
func TestInspect(t *testing.T) {
	w := newWorld(t, "abcde", 1)
	look := func(at, key string) string {
		var out []string
		r := w.do(w.node(at), &Request{Op: OpInspect, Bucket: "sloppy", Key: []byte(key)})
		if r.Code != OK {
			t.Fatalf("inspect: %v", r.Code)
		}
		for _, row := range r.Inspect {
			s := string(row.Store[:1]) + ":" + row.State.String()
			if row.InSync {
				s += "="
			}
			if row.Fallback {
				s = "(" + s + ")"
			}
			if row.State == Present && (row.Size == 0 || row.Hash == 0 || row.HLC == 0 || len(row.Dots) == 0) {
				t.Errorf("%+v", row)
			}
			out = append(out, s)
		}
		return strings.Join(out, " ")
	}
	for _, at := range []string{"a", "e"} {
		w.expect("absent", look(at, "none"), "a:absent= b:absent= c:absent=")
	}
	w.put("a", "sloppy", "k", "v", wOf(3))
	w.expect("present", look("d", "k"), "a:present= b:present= c:present=")
	w.onlyAt("a", "sloppy", "k", "v2", "bcde")
	w.expect("b and c are behind", look("d", "k"), "a:present= b:present c:present")
	w.expect("and stay it", look("d", "k"), "a:present= b:present c:present")
	w.settle("sloppy", "k")
	w.view("", "abde")
	w.del("a", "sloppy", "k", wOf(3))
	w.run(time.Second)
	hint := "(d:tombstone=)"
	if w.keeps("e") != "" {
		hint = "(e:tombstone=)"
	}
	w.expect("deleted, kept for c", look("a", "k"), "a:tombstone= b:tombstone= c:unreachable "+hint)
	w.node("b").disk.corrupt[rowKey{bucket: 2, key: "k"}] = true
	w.expect("b is quarantined", look("e", "k"), "a:tombstone= b:suspect c:unreachable "+hint)
	w.fate = cut(drop, "a", "e")
	begin := w.now
	if got := look("e", "k"); !strings.HasPrefix(got, "a:unreachable b:suspect c:unreachable") {
		t.Errorf("a is silent: %s", got)
	}
	if took := w.now - begin; took != inspectAfter {
		t.Errorf("took %v", took)
	}
	c := w.ask(w.node("e"), &Request{Op: OpInspect, Bucket: "sloppy", Key: []byte("k")})
	w.run(10 * time.Millisecond)
	w.step(w.node("e"), Event{Down: sidOf("a")})
	if c.reply == nil {
		t.Error("a connection that is lost did not end the wait")
	}
	w.fate = nil
	w.view("", "abcde")
	if r := w.do(w.node("a"), &Request{Op: OpInspect, Bucket: "lww", Key: []byte("k")}); len(r.Inspect) != 3 || !r.Inspect[0].InSync {
		t.Errorf("lww: %+v", r.Inspect)
	}
}
