package frames

import (
	"bytes"
	"testing"
)

// Large messages take turns, so that the last of a few is through soon after the
// first; what is put together is what was sent.
func TestLargeMessagesTakeTurns(t *testing.T) {
	var out chunker
	want := map[uint32][]byte{}
	for id := range uint32(2 * turns) {
		want[id] = bytes.Repeat([]byte{byte(id)}, 3*maxPayload+int(id))
		out.add(id, want[id])
	}
	in := assembly{limit: 1 << 30}
	rounds, ended := 0, map[uint32]int{}
	for ; len(out.queue) > 0; rounds++ {
		b := out.appendRound(nil)
		if len(b) > turns*(frameHead+maxPayload) {
			t.Errorf("%d bytes in one round", len(b))
		}
		for len(b) > 0 {
			f, size, err := parseFrame(b)
			if err != nil {
				t.Fatal(err)
			}
			b = b[size:]
			whole, why, err := in.add(&f)
			if err != nil || why != 0 {
				t.Fatal(why, err)
			}
			if whole != nil {
				ended[f.id] = rounds
				if !bytes.Equal(whole, want[f.id]) {
					t.Errorf("message %d came as %d bytes", f.id, len(whole))
				}
			}
		}
	}
	if len(ended) != 2*turns || ended[0] != ended[turns-1] || ended[turns] <= ended[0] || in.open() != 0 {
		t.Errorf("ended in rounds %v", ended)
	}
}

func TestLargeMessagesAreBounded(t *testing.T) {
	asked := 0
	in := assembly{limit: 100, reserve: func(n int) bool { asked += n; return n <= 50 }}
	for _, c := range []struct {
		total int
		why   dropped
	}{{10, whole}, {60, noRoom}, {101, tooLarge}} {
		first := frame{kind: frameFirst, id: 1, payload: append([]byte{0, 0, 0, byte(c.total)}, make([]byte, 5)...)}
		if b, why, err := in.add(&first); b != nil || why != whole || err != nil {
			t.Errorf("%d: it ended with its first chunk: %v, %v", c.total, why, err)
		}
		b, why, err := in.add(&frame{kind: frameNext, id: 1, payload: make([]byte, c.total-5)})
		if why != c.why || err != nil || (b != nil) != (c.why == whole) {
			t.Errorf("%d: %v, %v", c.total, why, err)
		}
	}
	if asked != 70 {
		t.Errorf("room was asked for %d bytes", asked)
	}
	for id := range uint32(maxParts) {
		if _, _, err := in.add(&frame{kind: frameFirst, id: id, payload: []byte{0, 0, 0, 9, 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := in.add(&frame{kind: frameFirst, id: maxParts, payload: []byte{0, 0, 0, 9, 1}}); err == nil {
		t.Error("there is no bound")
	}
}
