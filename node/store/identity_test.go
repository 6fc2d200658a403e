package store

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/quoratedb/quorate/hashring"
)

func TestGoldenIdentity(t *testing.T) {
	id := Identity{SID: hashring.SID{1}, Cluster: hashring.ClusterID{2}, Format: Format, Boot: 3,
		Promise: &Promise{Set: hashring.SID{4}, Initiator: hashring.SID{5}, Members: []hashring.SID{{5}}}}
	b, err := EncodeIdentity(id)
	if err != nil {
		t.Fatal(err)
	}
	const want = "quorate store, format 2\n" +
		`{"sid":"01000000000000000000000000000000","cluster":"02000000000000000000000000000000","boot":3,` +
		`"promise":{"set":"04000000000000000000000000000000","initiator":"05000000000000000000000000000000",` +
		`"members":["05000000000000000000000000000000"]}}` + "\ncrc32c 4714eeab\n"
	if string(b) != want {
		t.Fatalf("got\n%swant\n%s", b, want)
	}
	for i := range b {
		b[i] ^= 1
		if got, err := DecodeIdentity(b); err == nil {
			t.Fatalf("a flip at %d was taken: %+v", i, got)
		}
		b[i] ^= 1
		if _, err := DecodeIdentity(b[:i]); err == nil {
			t.Fatalf("%d of %d bytes were taken", i, len(b))
		}
	}
	if got, err := DecodeIdentity(b); err != nil || !reflect.DeepEqual(got, id) {
		t.Fatal(got, err)
	}
	older := strings.Replace(strings.Replace(want, "format 2", "format 1", 1), "4714eeab", "0ef0d853", 1)
	id.Format = 1
	if got, err := DecodeIdentity([]byte(older)); err != nil || !reflect.DeepEqual(got, id) {
		t.Fatal(got, err)
	}
}

func FuzzDecodeIdentity(f *testing.F) {
	b, err := EncodeIdentity(Identity{SID: hashring.SID{1}, Boot: 3, Promise: &Promise{Members: []hashring.SID{{5}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("quorate store, format 3\n"))
	f.Add([]byte("quorate store, format 1\n{}\ncrc32c 00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := DecodeIdentity(b)
		var damaged *DamagedError
		if err != nil {
			if !errors.As(err, &damaged) && !errors.Is(err, ErrNewerFormat) {
				t.Fatal(err)
			}
			return
		}
		again, err := EncodeIdentity(id)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeIdentity(again); err != nil || !reflect.DeepEqual(back, id) {
			t.Fatalf("%+v came back as %+v, %v", id, back, err)
		}
	})
}
