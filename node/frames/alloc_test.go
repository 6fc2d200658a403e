//go:build !race

package frames

import (
	"context"
	"testing"

	"github.com/quoratedb/quorate/node/wire"
)

// A request costs both ends together what it must: the request and what stands around
// it in the node, the slab that its bytes are in, the client's text and value, and the
// backend of this test, which makes a reply.
func TestRoundTripAllocations(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial(DialConfig{})
	do(t, c, put("user:0000012345", make([]byte, 80)))
	q := get("user:0000012345")
	var rep wire.ClientReply
	ctx := context.Background()
	if got := testing.AllocsPerRun(500, func() {
		if err := c.Do(ctx, &q, &rep); err != nil || rep.Status != 200 {
			t.Fatal(err, rep.Status)
		}
	}); got > 7 {
		t.Errorf("a GET allocates %v times", got)
	}
}
