package httpapi

import (
	"encoding/json"
	"net/http"

	rules "github.com/quoratedb/quorate/node/api"
	"github.com/quoratedb/quorate/node/core"
)

// maxCounterBody bounds the JSON of an increment.
const maxCounterBody = 4 << 10

// counterBody is what an increment takes.
type counterBody struct {
	Delta *int64 `json:"delta"`
}

// counterJSON is a counter as clients see it.
type counterJSON struct {
	Value int64 `json:"value"`
}

// increment adds to a counter of a strong bucket; an absent one is 0.
func (c *call) increment() {
	req, f := c.data(core.OpIncrement)
	var body counterBody
	if f == nil {
		f = c.decode(&body, maxCounterBody)
	}
	if f == nil && body.Delta == nil {
		f = refuse(codeInvalidArgument, "delta is missing: a whole number, which may be below 0")
	}
	if f != nil {
		c.fail(f)
		return
	}
	req.Delta = *body.Delta
	rep := c.a.b.Do(c.ctx, req)
	if f = fromReply(rep); f == nil && rep.Strong == nil {
		f = refuse(codeInternal, "the increment came back without its result")
	}
	if f != nil {
		c.fail(f)
		return
	}
	c.showCounter(rep, rep.Strong.Count)
}

// counter reads one.
func (c *call) counter() {
	req, f := c.data(core.OpGet)
	if f == nil && !c.strong() {
		f = asFault(rules.NoCounters())
	}
	if f != nil {
		c.fail(f)
		return
	}
	rep := c.a.b.Do(c.ctx, req)
	v, f := c.lookStrong(rep)
	if f == nil && v.Status == http.StatusNotModified {
		h := c.headers()
		h.version(rep)
		c.replyHeaders(h, rep)
		c.send(v.Status, h, nil)
		return
	}
	var n int64
	if f == nil {
		var ok bool
		if n, ok = rules.Counter(v.Value); !ok {
			f = asFault(rules.NotCounter(rep))
		}
	}
	if f != nil {
		c.fail(f)
		return
	}
	c.showCounter(rep, n)
}

func (c *call) showCounter(rep *core.Reply, n int64) {
	body, err := json.Marshal(counterJSON{n})
	if err != nil { // a number: it cannot fail
		c.fail(refuse(codeInternal, "the reply could not be encoded"))
		return
	}
	body = append(body, '\n')
	h := c.headers()
	h.version(rep)
	h.text(hdrContentType, typeJSON)
	h.text(hdrNosniff, nosniff)
	h.number(hdrContentLength, uint64(len(body)))
	c.out = len(body)
	c.replyHeaders(h, rep)
	c.send(http.StatusOK, h, body)
}
