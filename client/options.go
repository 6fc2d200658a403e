package client

import "time"

// Options choose, for one call, how many replicas it waits for and how. Which call
// takes which option is checked by the compiler.
type (
	// GetOption is for Get and Head.
	GetOption interface{ applyGet(*call) }
	// PutOption is for Put.
	PutOption interface{ applyPut(*call) }
	// DeleteOption is for Delete.
	DeleteOption interface{ applyDelete(*call) }
	// WriteOption is for Put and Delete.
	WriteOption interface {
		PutOption
		DeleteOption
	}
	// Option is for Get, Head, Put and Delete.
	Option interface {
		GetOption
		WriteOption
	}
)

// maxCount is the largest number of replicas that is sent as it is; every cluster
// has fewer, so that what is beyond is refused all the same.
const maxCount = 127

func count(n int) int8 { return int8(max(0, min(n, maxCount))) }

type rOption int8

func (n rOption) applyGet(c *call) { c.req.r = int8(n) }

// R asks for the answers of n replicas.
func R(n int) GetOption { return rOption(count(n)) }

type wOption int8

func (n wOption) applyPut(c *call)    { c.req.w = int8(n) }
func (n wOption) applyDelete(c *call) { c.req.w = int8(n) }

// W asks for n stores that have fsynced the write before it is acknowledged.
func W(n int) WriteOption { return wOption(count(n)) }

type pwOption int8

func (n pwOption) applyPut(c *call)    { c.req.pw = int8(n) }
func (n pwOption) applyDelete(c *call) { c.req.pw = int8(n) }

// PW asks for n owners of the key, not stand-ins, among the stores of W.
func PW(n int) WriteOption { return pwOption(count(n)) }

type levelOption consistency

func (l levelOption) applyGet(c *call)    { c.req.level = consistency(l) }
func (l levelOption) applyPut(c *call)    { c.req.level = consistency(l) }
func (l levelOption) applyDelete(c *call) { c.req.level = consistency(l) }

// One replica is enough: the lowest latency.
func One() Option { return levelOption(levelOne) }

// Majority waits for a majority of the owners.
func Majority() Option { return levelOption(levelQuorum) }

// All waits for every owner.
func All() Option { return levelOption(levelAll) }

type sloppyOption tri

func (s sloppyOption) applyGet(c *call)    { c.req.sloppy = tri(s) }
func (s sloppyOption) applyPut(c *call)    { c.req.sloppy = tri(s) }
func (s sloppyOption) applyDelete(c *call) { c.req.sloppy = tri(s) }

// Strict counts owners of the key only. With R+W>N a read that starts after an
// acknowledged write then sees it.
func Strict() Option { return sloppyOption(no) }

// Sloppy lets stand-ins count where owners cannot be reached: always writable.
func Sloppy() Option { return sloppyOption(yes) }

type newestOption struct{}

func (newestOption) applyGet(c *call) { c.req.newest = true }

// Newest takes the newest of several siblings. The Context of the answer covers all
// of them: a write that carries it drops the others.
func Newest() GetOption { return newestOption{} }

type afterOption Context

func (t afterOption) applyGet(c *call) { c.req.after = Context(t) }

// ReadAfter wants an answer that includes what t names, or ErrStale. Sessions do it
// by themselves.
func ReadAfter(t Context) GetOption { return afterOption(t) }

type noneMatchOption ETag

func (t noneMatchOption) applyGet(c *call) { c.req.noneMatch = ETag(t) }

// IfNoneMatch answers ErrNotModified while the value still has this ETag.
func IfNoneMatch(etag ETag) GetOption { return noneMatchOption(etag) }

type noHedgeOption struct{}

func (noHedgeOption) applyGet(c *call) { c.noHedge = true }

// NoHedge sends a read to one node only, however late it is.
func NoHedge() GetOption { return noHedgeOption{} }

type withOption Context

func (t withOption) applyPut(c *call)    { c.req.context = Context(t) }
func (t withOption) applyDelete(c *call) { c.req.context = Context(t) }

// With names what the write replaces: the Context of the read that it follows. A
// write without one replaces what its coordinating node holds.
func With(t Context) WriteOption { return withOption(t) }

type ttlOption time.Duration

func (d ttlOption) applyPut(c *call) { c.req.ttl = time.Duration(d) }

// TTL lets the value expire after d, from 1 ms to 100 years.
func TTL(d time.Duration) PutOption { return ttlOption(d) }

type typeOption string

func (t typeOption) applyPut(c *call) { c.req.contentType = string(t) }

// ContentType is kept with the value, at most 256 bytes; application/octet-stream
// without it.
func ContentType(t string) PutOption { return typeOption(t) }

type keyOption string

func (k keyOption) applyPut(c *call)    { c.req.idempotency = string(k) }
func (k keyOption) applyDelete(c *call) { c.req.idempotency = string(k) }

// IdempotencyKey names the write, as <unix_ms>-<random>, so that a later call can
// repeat it: the IdempotencyKey of an *Error whose Outcome is Unknown.
func IdempotencyKey(k string) WriteOption { return keyOption(k) }

type onceOption struct{}

func (onceOption) applyPut(c *call)    { c.once = true }
func (onceOption) applyDelete(c *call) { c.once = true }

// Once never sends a write again that may have been applied: the call fails with
// ErrOutcomeUnknown instead.
func Once() WriteOption { return onceOption{} }
