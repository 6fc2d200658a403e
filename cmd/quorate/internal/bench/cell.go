package bench

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
)

// cell is what the one writer of a key knows about it. All attempts above acked
// carried a context that covers acked, so they may have overwritten it; nothing else
// may have.
type cell struct {
	name    string
	renamed int    // see writeFirst
	attempt uint64 // number of the last write that was sent
	acked   uint64 // of the last one acknowledged; 0: none
	context string // of the last ack, or of a read that showed acked or newer; in a strong bucket the ETag
	doubt   bool   // strong buckets: a write of unknown outcome may have made another version
}

// settled says whether numbers read satisfy what was acknowledged before the read.
func (c *cell) settled(acked uint64, read []uint64) bool {
	if acked == 0 {
		return true
	}
	for _, seq := range read {
		if seq >= acked {
			return true
		}
	}
	return false
}

// learn takes the context of a read over when that read was not behind.
func (c *cell) learn(context string, read []uint64) {
	if context != "" && len(read) > 0 && c.settled(c.acked, read) {
		c.context = context
	}
}

// phantom returns an error when a number was read that was never sent.
func (c *cell) phantom(read []uint64) error {
	for _, seq := range read {
		if seq == 0 || seq > c.attempt {
			return fmt.Errorf("number %d was never written; the last one sent is %d", seq, c.attempt)
		}
	}
	return nil
}

type siblings struct {
	Siblings []struct {
		Value string `json:"value"`
	} `json:"siblings"`
}

// values takes the values out of a read: one, several siblings, or none.
func values(a *answer) ([][]byte, error) {
	switch a.status {
	case http.StatusOK:
		return [][]byte{a.body}, nil
	case http.StatusMultipleChoices:
		var s siblings
		if err := json.Unmarshal(a.body, &s); err != nil {
			return nil, fmt.Errorf("siblings: %w", err)
		}
		out := make([][]byte, 0, len(s.Siblings))
		for _, v := range s.Siblings {
			b, err := base64.StdEncoding.DecodeString(v.Value)
			if err != nil {
				return nil, fmt.Errorf("siblings: %w", err)
			}
			out = append(out, b)
		}
		return out, nil
	}
	return nil, nil
}

// numbers reads the numbers of all siblings.
func numbers(run, key string, size int, a *answer) ([]uint64, error) {
	vs, err := values(a)
	if err != nil {
		return nil, err
	}
	out := make([]uint64, 0, len(vs))
	for _, v := range vs {
		seq, err := readValue(run, key, size, v)
		if err != nil {
			return nil, err
		}
		out = append(out, seq)
	}
	return out, nil
}
