package api

import (
	"strconv"
	"time"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/core"
)

// CheckKey holds a key to its bounds.
func CheckKey(key []byte) *Fault {
	if len(key) == 0 {
		return Refuse(InvalidArgument, "the key is empty; a key has 1 to 1024 bytes")
	}
	if len(key) > core.MaxKey {
		return TooLong(len(key))
	}
	return nil
}

// TooLong refuses a key of so many bytes.
func TooLong(bytes int) *Fault {
	return Refuse(KeyTooLong, "the key has "+itoa(bytes)+" bytes, the limit is "+itoa(core.MaxKey))
}

// CheckBucket holds a bucket's name to its form.
func CheckBucket(name string) *Fault {
	if !hashring.ValidBucketName(name) {
		return Refuse(InvalidArgument, "a bucket name is [a-z0-9][a-z0-9._-]{0,62}")
	}
	return nil
}

// TooLarge refuses a value; announced is its size, below 0: not known.
func TooLarge(announced int64, limit int) *Fault {
	text := "the body is larger than "
	if announced >= 0 {
		text = "the body has " + strconv.FormatInt(announced, 10) + " bytes, the limit is "
	}
	return Refuse(ValueTooLarge, text+itoa(limit))
}

// CheckTimeout holds a deadline to its bounds.
func CheckTimeout(d time.Duration) *Fault {
	if d <= 0 || d > core.MaxDeadline {
		return Refuse(InvalidArgument, "Quorate-Timeout is a duration such as 250ms, above 0 and at most "+core.MaxDeadline.String())
	}
	return nil
}

// CheckTTL holds a time to live to its bounds.
func CheckTTL(d time.Duration) *Fault {
	if d < time.Millisecond || d > MaxTTL {
		return Refuse(InvalidArgument, "ttl is a duration such as 90s or 24h, from 1ms to 100 years")
	}
	return nil
}

// CheckConsistency takes the words of eventual buckets, and numbers of replicas.
func CheckConsistency(v string) *Fault {
	const words = "one, quorum, all, or a number of replicas from 1"
	switch v {
	case "one", "quorum", "all":
		return nil
	case "leader", "lease", "replica", "stale":
		return Refuse(InvalidArgument, "consistency "+v+" is for strong buckets; here it is "+words)
	}
	if replicas(v) == 0 {
		return Refuse(InvalidArgument, "consistency is "+words)
	}
	return nil
}

// replicas is the number that v is, 0 if it is none.
func replicas(v string) uint32 {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// ContentType is what is kept with a value.
func ContentType(v string) (string, *Fault) {
	switch {
	case v == "":
		return TypeOctets, nil
	case len(v) > core.MaxContentType:
		return "", Refuse(InvalidArgument, "the Content-Type is longer than 256 bytes")
	}
	return v, nil
}
