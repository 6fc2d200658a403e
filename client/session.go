package client

import (
	"container/list"
	"sync"

	"github.com/quoratedb/quorate/quorum/version"
)

// SessionKeys is how many keys a session remembers, the ones used last.
const SessionKeys = 10_000

// Session gives its holder read-your-writes and monotonic reads, key by key: a read
// sees at least what this session has written and read before, or fails with
// ErrStale. Others are not affected. It remembers the SessionKeys keys used last; of
// one that it has forgotten it promises nothing. Safe for any number of goroutines.
type Session struct {
	c    *Client
	mu   sync.Mutex
	keys map[sessionKey]*list.Element
	used *list.List // of *seenKey, the last used first
}

type sessionKey struct{ bucket, key string }

type seenKey struct {
	sessionKey
	token Context
}

// Session begins a session.
func (c *Client) Session() *Session {
	return &Session{c: c, keys: map[sessionKey]*list.Element{}, used: list.New()}
}

// Bucket is a bucket whose calls belong to the session.
func (s *Session) Bucket(name string) *Bucket {
	b := s.c.Bucket(name)
	b.session = s
	return b
}

// In gives the same bucket with its calls in a session.
func (b *Bucket) In(s *Session) *Bucket {
	return &Bucket{c: b.c, name: b.name, known: b.known, session: s}
}

// token is what a read of the key must include.
func (s *Session) token(bucket, key string) Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[sessionKey{bucket, key}]
	if e == nil {
		return ""
	}
	s.used.MoveToFront(e)
	return e.Value.(*seenKey).token
}

// saw adds a token of an answer to what the session has seen of the key. A write
// without a context gives one of its own alone, so the tokens are joined.
func (s *Session) saw(bucket, key string, t Context) {
	k := sessionKey{bucket, key}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.keys[k]; e != nil {
		x := e.Value.(*seenKey)
		x.token = join(x.token, t)
		s.used.MoveToFront(e)
		return
	}
	s.keys[k] = s.used.PushFront(&seenKey{k, t})
	if s.used.Len() > SessionKeys {
		last := s.used.Back()
		delete(s.keys, last.Value.(*seenKey).sessionKey)
		s.used.Remove(last)
	}
}

// join covers what two tokens of one key cover. Where they are of two buckets of one
// name, the newer bucket counts; a token that cannot be read gives way.
func join(a, b Context) Context {
	if a == b {
		return a
	}
	x, errX := version.ParseContext(string(a))
	y, errY := version.ParseContext(string(b))
	switch {
	case errY != nil:
		return a
	case errX != nil || x.Bucket < y.Bucket:
		return b
	case x.Bucket > y.Bucket:
		return a
	}
	x.Seen, x.HLC = x.Seen.Join(y.Seen), max(x.HLC, y.HLC)
	if len(x.Seen) > version.MaxContextActors {
		return b
	}
	return Context(x.Token())
}
