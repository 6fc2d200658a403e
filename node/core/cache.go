package core

import (
	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/quorum/version"
)

// cache keeps settled records that were written or read lately, so that a hot key
// costs no engine read per write (every write merges with what is there). Only this
// shard writes its records, through the overlay, so what is here is never older
// than the engine. Second-chance eviction; bounded in bytes.
type cache struct {
	rows  map[cacheKey]*cached
	queue []*cached // oldest first; entries that were replaced stay until they come up
	bytes int
	limit int
}

type cacheKey struct {
	bucket hashring.BucketID
	key    string
}

type cached struct {
	key    cacheKey
	object *version.Object
	size   int
	used   bool // since it last came up for eviction
}

// maxCached bounds one object in the cache, in bytes.
const maxCached = 16 << 10

// compact is o with values of its own: those of a message are a small part of the
// buffer it arrived in, which must not be kept alive for them.
func compact(o *version.Object) *version.Object {
	total := 0
	for i := range o.Siblings {
		total += len(o.Siblings[i].Value)
	}
	buf := make([]byte, 0, total)
	out := &version.Object{Context: o.Context, Siblings: make([]version.Sibling, len(o.Siblings))}
	for i, s := range o.Siblings {
		from := len(buf)
		buf = append(buf, s.Value...)
		s.Value = buf[from:len(buf):len(buf)]
		out.Siblings[i] = s
	}
	return out
}

// entryBytes is about what an entry takes beside its object and key.
const entryBytes = 160

func newCache(limit int) cache { return cache{rows: map[cacheKey]*cached{}, limit: limit} }

func (c *cache) get(b hashring.BucketID, key []byte) (*version.Object, bool) {
	e := c.rows[cacheKey{b, string(key)}]
	if e == nil {
		return nil, false
	}
	e.used = true
	return e.object, true
}

// put remembers the key's settled object; nil forgets the key, and so does an
// object that is too large to be copied within a step.
func (c *cache) put(b hashring.BucketID, key string, o *version.Object) {
	if c.limit < 0 {
		return
	}
	k := cacheKey{b, key}
	e := c.rows[k]
	if o == nil || o.Size() > maxCached {
		c.drop(e)
		return
	}
	o = compact(o)
	size := o.Size() + len(key) + entryBytes
	if e == nil {
		e = &cached{key: k}
		c.rows[k] = e
		c.queue = append(c.queue, e)
	}
	c.bytes += size - e.size
	e.object, e.size = o, size
	c.evict()
}

func (c *cache) drop(e *cached) {
	if e != nil && e.object != nil {
		c.bytes -= e.size
		e.object = nil
		delete(c.rows, e.key)
	}
}

func (c *cache) evict() {
	for c.bytes > c.limit {
		e := c.queue[0]
		c.queue[0] = nil
		c.queue = c.queue[1:]
		switch {
		case e.object == nil:
		case e.used:
			e.used = false
			c.queue = append(c.queue, e)
		default:
			c.drop(e)
		}
	}
}
