package core

import "github.com/quoratedb/quorate/hashring"

// A bucket can be deleted and made again under its name, and nodes hear of that at
// different times. Forwarded requests name their bucket, so two nodes may mean two buckets
// by it. An id says which, and it is the ring version that the bucket came with: who speaks
// with an older ring does not know the bucket.

// former tells that who sent m did not know that bucket yet: a request of theirs is meant
// for a former one of the name, and what they answer was done in one.
func former(m *Message, id hashring.BucketID) bool { return m.RingVersion < uint64(id) }

// outlived tells that a request that was forwarded here is older than the end of its bucket:
// who has sent it may mean another one of the name, and would take the answer to be about it.
func (c *Core) outlived(to origin, id hashring.BucketID) bool {
	if to.from.IsZero() {
		return false
	}
	_, there := c.ring.BucketByID(id)
	return !there
}
