package frames

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/hashring"
	"github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
	"github.com/quoratedb/quorate/node/wire"
)

// The example of the document is what this package writes.
func TestDocumentedExample(t *testing.T) {
	text, err := os.ReadFile("../../docs/FRAMES.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := strings.ReplaceAll(string(text), "\r\n", "\n")
	h := hello{min: 1, max: 1, name: "example"}
	for i := range h.nonce {
		h.nonce[i] = byte(i)
	}
	q := wire.ClientRequest{Op: wire.ClientPut, Bucket: "default", Key: []byte("cart:17"), Value: []byte("milk"), ContentType: "text/plain", W: 2}
	r := wire.ClientReply{Status: 204, Outcome: core.Applied, HasETag: true, ETag: 0x9c1f5a3b7d2e4f60, Context: "AQzK", ServedBy: "n1",
		Receipt: wire.ClientReceipt{N: 3, Need: 2, Acks: 2, Owners: 2, Synced: 2}, RingVersion: 12, HasPlace: true, Epoch: 1, Partition: 41}
	for i := range r.RequestID {
		r.RequestID[i] = 0xa0 + byte(i)
	}
	for name, b := range map[string][]byte{
		"hello":   h.append(nil),
		"request": appendFrame(nil, frameMessage, 7, wire.AppendClientRequest(nil, &q)),
		"reply":   appendFrame(nil, frameMessage, 7, wire.AppendClientReply(nil, &r)),
	} {
		if dump := hex.Dump(b); !strings.Contains(doc, dump) {
			t.Errorf("the document has another %s; it is\n%s", name, dump)
		}
	}
	for c := range api.CodeCount {
		if c != api.OK && !strings.Contains(doc, "`"+c.String()+"`") {
			t.Errorf("the document does not name %s", c)
		}
	}
	var zero hashring.ClusterID
	if h.cluster != zero {
		t.Error("the example means any cluster")
	}
}
