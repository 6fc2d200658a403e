package api

import (
	"hash/crc32"
	"strconv"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/quorum/version"
)

const (
	// MaxTTL keeps an expiry, unix milliseconds as int64, far from its end.
	MaxTTL = 100 * 365 * 24 * time.Hour
	// MaxCount is what core.Count holds; every n is far below.
	MaxCount = 127
	// TypeOctets is the content type of a value that was written without one.
	TypeOctets = "application/octet-stream"
)

// Params is what a client asks for of one key, typed and not yet checked. The
// zero value of each member means that it was not given.
type Params struct {
	Op             core.Op // OpGet, OpPut, OpDelete or OpIncrement
	Bucket         string  // must be given
	Key            []byte
	Value          []byte // of a put
	ContentType    string // of a put
	Context        string // token: what a write covers
	ReadAfter      string // token: what a read must include
	Delta          int64  // of an increment
	Consistency    string // one, quorum or all; in strong buckets leader, quorum, replica or stale
	R, W, PW       uint32
	Sloppy         core.Tri
	TTL            time.Duration // of a put
	Timeout        time.Duration
	OwnerOnly      bool
	Newest         bool   // resolve=newest, of a read
	IfMatch        string // ETag list
	IfNoneMatch    string // ETag list
	IdempotencyKey string // of a write
	RingVersion    uint64 // newest ring version the client has seen
}

// Write tells that the operation may change something.
func (p *Params) Write() bool { return p.Op != core.OpGet }

// Request checks p and fills req with what does not depend on the bucket: For comes
// next, then Value. id names the request unless its Idempotency-Key does.
func (p *Params) Request(req *core.Request, id version.RequestID) *Fault {
	req.Op, req.Bucket, req.Key, req.ID = p.Op, p.Bucket, p.Key, id
	if p.IdempotencyKey != "" && p.Write() {
		if !ValidIdempotencyKey(p.IdempotencyKey) {
			return BadIdempotencyKey()
		}
		req.ID = HashID(p.IdempotencyKey)
	}
	f := CheckBucket(p.Bucket)
	if f == nil {
		f = CheckKey(p.Key)
	}
	if f == nil {
		f = p.fits()
	}
	if f == nil && p.Timeout != 0 {
		req.Timeout, f = p.Timeout, CheckTimeout(p.Timeout)
	}
	req.OwnerOnly, req.Delta = p.OwnerOnly, p.Delta
	return f
}

// For fills in what depends on the bucket. ring may be nil where the bucket has no
// default r and w.
func (p *Params) For(req *core.Request, b *hashring.Bucket, ring *hashring.Ring) *Fault {
	if b.Mode == hashring.Strong {
		a := p.ask()
		return a.Fill(req)
	}
	if p.Op == core.OpIncrement {
		return NoCounters()
	}
	f := p.conditions()
	if f == nil {
		f = p.tokens(req)
	}
	if f == nil {
		f = p.counts(req)
	}
	if f == nil && p.TTL != 0 {
		req.TTL, f = p.TTL, CheckTTL(p.TTL)
	}
	req.Sloppy = p.Sloppy
	Resolve(req, p.Consistency, b, ring)
	return f
}

// NoCounters refuses a counter in an eventual bucket.
func NoCounters() *Fault {
	return Refuse(NotSupported, "counters of eventual buckets are reserved; create a bucket of mode strong for them")
}

// ask is what a strong bucket looks at.
func (p *Params) ask() Ask {
	a := Ask{TTL: p.TTL != 0, Consistency: p.Consistency}
	switch {
	case p.R != 0:
		a.Counts = "r"
	case p.W != 0:
		a.Counts = "w"
	case p.PW != 0:
		a.Counts = "pw"
	case p.Sloppy != core.Unset:
		a.Counts = "sloppy"
	}
	switch {
	case !p.Write():
		if p.ReadAfter != "" {
			a.Token = "Quorate-Read-After"
		}
		return a
	case p.Context != "":
		a.Token = "Quorate-Context"
	}
	a.IfMatch, a.IfNoneMatch, a.IdempotencyKey = p.IfMatch, p.IfNoneMatch, p.IdempotencyKey
	return a
}

// fits refuses what has no meaning for the operation: a slip must never weaken a
// read or a write.
func (p *Params) fits() *Fault {
	var extra string
	switch p.Op {
	case core.OpGet:
		switch {
		case p.W != 0:
			extra = "w"
		case p.PW != 0:
			extra = "pw"
		case p.TTL != 0:
			extra = "ttl"
		}
	case core.OpPut, core.OpDelete, core.OpIncrement:
		switch {
		case p.R != 0:
			extra = "r"
		case p.Newest:
			extra = "resolve"
		case p.Op != core.OpPut && p.TTL != 0:
			extra = "ttl"
		}
	default:
		return Refuse(NotSupported, "the operation is not one on a key")
	}
	if extra != "" {
		return Refuse(UnknownParameter, "the operation has no parameter "+extra)
	}
	if p.Op != core.OpPut && len(p.Value) != 0 {
		return Refuse(InvalidArgument, "a "+[...]string{core.OpGet: "GET", core.OpDelete: "DELETE", core.OpIncrement: "counter"}[p.Op]+" has no body")
	}
	return nil
}

// conditions refuses compare-and-set where it cannot hold: an eventual bucket has
// no one version to compare with.
func (p *Params) conditions() *Fault {
	if p.IfMatch != "" || p.Write() && p.IfNoneMatch != "" {
		return NeedsStrong()
	}
	return nil
}

// NeedsStrong refuses compare-and-set in an eventual bucket.
func NeedsStrong() *Fault {
	return Refuse(ConditionalNeedsStrong, "If-Match, and If-None-Match on a write, hold in strong buckets only; this bucket is eventual")
}

// tokens reads the causal token of the operation. Whether it belongs to this key
// the core checks, against its own ring.
func (p *Params) tokens(req *core.Request) (f *Fault) {
	switch {
	case p.Write() && p.Context != "":
		req.Context, f = Token("Quorate-Context", p.Context)
		req.HasContext = true
	case !p.Write() && p.ReadAfter != "":
		req.After, f = Token("Quorate-Read-After", p.ReadAfter)
		req.HasAfter = true
	}
	return f
}

// Token reads a causal token; name says where it stood.
func Token(name, text string) (version.Context, *Fault) {
	c, err := version.ParseContext(text)
	if err != nil {
		return c, Refuse(ContextInvalid, name+": "+err.Error())
	}
	return c, nil
}

func (p *Params) counts(req *core.Request) *Fault {
	if p.Consistency != "" {
		if f := CheckConsistency(p.Consistency); f != nil {
			return f
		}
		if p.R != 0 || p.W != 0 {
			return Refuse(InvalidArgument, "consistency and "+map[bool]string{false: "r", true: "w"}[p.Write()]+" say the same; send one of them")
		}
	}
	req.R, req.W, req.PW = Count(p.R), Count(p.W), Count(p.PW)
	return nil
}

// Count is a number of replicas as the core takes it. Beyond n is the core's to
// refuse, with the numbers.
func Count(n uint32) core.Count { return core.Count(min(n, MaxCount)) }

// Resolve turns what CheckConsistency takes into numbers of the bucket. It is to be
// called with "" too.
func Resolve(req *core.Request, consistency string, b *hashring.Bucket, ring *hashring.Ring) {
	if consistency == "" {
		return
	}
	count, byDefault := &req.R, b.R
	if req.Op != core.OpGet {
		count, byDefault = &req.W, b.W
	}
	switch consistency {
	case "one":
		*count = 1
	case "all":
		*count = core.All
	case "quorum":
		// A bucket without a default of its own means a majority already, and the
		// core counts it in the ring that it plans with.
		if *count = 0; byDefault != 0 {
			part := ring.PartitionOf(hashring.Hash(req.Bucket, req.Key))
			*count = core.Count(hashring.Majority(ring.N(b, part)))
		}
	default:
		*count = Count(replicas(consistency))
	}
}

// Bucket finds the bucket of a request on a key. A name that is not known here may
// be known elsewhere: retry says that the ring should be fetched once, if that has
// not been done, and the bucket looked for again.
func Bucket(ring *hashring.Ring, name string) (b *hashring.Bucket, retry bool, f *Fault) {
	if ring == nil {
		return nil, true, Refuse(Starting, "the node does not know the ring yet")
	}
	b, ok := ring.Bucket(name)
	switch {
	case !ok:
		return nil, true, Refuse(BucketNotFound, "there is no bucket "+name)
	case b.Mode != hashring.Eventual && b.Mode != hashring.Strong:
		return b, false, Refuse(NotSupported, "keys of buckets in "+string(b.Mode)+" mode are not served yet")
	}
	return b, false, nil
}

// PutValue checks what a put writes and fills the rest of req: value, content type,
// checksum. idempotencyKey is the client's, "" if none.
func PutValue(req *core.Request, value []byte, contentType, idempotencyKey string, limit int) *Fault {
	kind, f := ContentType(contentType)
	if f != nil {
		return f
	}
	if len(value) > limit {
		return TooLarge(int64(len(value)), limit)
	}
	if value == nil {
		value = []byte{}
	}
	req.ContentType, req.Value, req.Sum = kind, value, Checksum(value)
	BindID(req, idempotencyKey)
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C that travels with a value from its writer's node to its
// readers'.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func itoa(n int) string { return strconv.Itoa(n) }
