package hashring

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCommandRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCommand(t)
		b, err := EncodeCommand(c)
		if err != nil {
			if c.check() == nil {
				t.Fatalf("%+v: %v", c, err)
			}
			return
		}
		if back, err := DecodeCommand(b); err != nil || !reflect.DeepEqual(back, c) {
			t.Fatalf("%s came back as %+v, %v", b, back, err)
		}
	})
}

func TestStateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stores := drawStores(t, 1, 6)
		s := ringOf(t, rapid.IntRange(1, 12).Draw(t, "partitions"), 3, 0, stores)
		if back, err := DecodeState(encoded(t, s)); err != nil || !reflect.DeepEqual(back, s) {
			t.Fatalf("%+v came back as %+v, %v", s, back, err)
		}
	})
	if back, err := DecodeState(encoded(t, &State{})); err != nil || !reflect.DeepEqual(back, &State{}) {
		t.Errorf("the empty state came back as %+v, %v", back, err)
	}
}

// The forms stand in Raft logs and on disks: they change only with the format byte.
const (
	goldenCommand = "\x01" + `{"kind":"register","register":{"store":{"sid":"61000000000000000000000000000000","node":"a",` +
		`"api":"a:7400","gossip":"a:7401","peer":"a:7402","zone":"z1","boot":1,"state":"up","feature_max":1},"expects":0}}`
	goldenState = "\x01" + `{"version":3,"cluster":"63000000000000000000000000000000","feature":1,"replicas":3,"stores":[` +
		`{"sid":"61000000000000000000000000000000","node":"a","api":"a:7400","gossip":"a:7401","peer":"a:7402","zone":"z1",` +
		`"boot":1,"state":"up","feature_max":1}],"partitions":[{"epoch":1,"primary":"00000000000000000000000000000000",` +
		`"replicas":["61000000000000000000000000000000"]}],"buckets":{"default":{"id":1,"name":"default","mode":"eventual",` +
		`"conflict":"siblings","n":3,"r":0,"w":0,"sloppy":true,"ttl":0}}}`
)

func TestGoldenForms(t *testing.T) {
	command, err := EncodeCommand(registerCommand(storeOf("a", "z1")))
	if err != nil || string(command) != goldenCommand {
		t.Errorf("command, %v:\n%s\nwant\n%s", err, command, goldenCommand)
	}
	state := encoded(t, ringOf(t, 1, 3, 0, []Store{storeOf("a", "z1")}))
	if string(state) != goldenState {
		t.Errorf("state:\n%s\nwant\n%s", state, goldenState)
	}
}

func TestDecodeIsStrict(t *testing.T) {
	replace := strings.NewReplacer
	for name, text := range map[string]string{
		"nothing":           "",
		"format only":       "\x01",
		"a newer format":    "\x02" + goldenCommand[1:],
		"unknown member":    replace(`"expects":0`, `"expects":0,"quick":true`).Replace(goldenCommand),
		"member in capital": replace(`"kind"`, `"Kind"`).Replace(goldenCommand),
		"member twice":      replace(`"expects":0`, `"expects":7,"expects":0`).Replace(goldenCommand),
		"space":             replace(`:{`, `: {`).Replace(goldenCommand),
		"more after it":     goldenCommand + "{}",
		"newline after it":  goldenCommand + "\n",
		"cut":               goldenCommand[:len(goldenCommand)-1],
		"null":              "\x01null",
		"a short sid":       replace(`"61000000000000000000000000000000"`, `"61"`).Replace(goldenCommand),
		"sid in capitals":   replace(`"6100`, `"6A00`).Replace(goldenCommand),
		"a broken rule":     replace(`"boot":1`, `"boot":0`).Replace(goldenCommand),
		"too long":          "\x01" + strings.Repeat(" ", MaxCommandBytes),
	} {
		if _, err := DecodeCommand([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"format only":    "\x01",
		"a newer format": "\x02" + goldenState[1:],
		"unknown member": replace(`"feature":1`, `"feature":1,"x":1`).Replace(goldenState),
		"a broken rule":  replace(`"epoch":1`, `"epoch":0`).Replace(goldenState),
		"too long":       "\x01" + strings.Repeat(" ", MaxStateBytes),
	} {
		if _, err := DecodeState([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("state, %s: %v", name, err)
		}
	}
}

func FuzzDecodeCommand(f *testing.F) {
	f.Add([]byte(goldenCommand))
	f.Add([]byte("\x01" + `{"kind":"first_ring","first_ring":{"partitions":20,"stores":["61000000000000000000000000000000"]}}`))
	f.Add([]byte("\x01" + `{"kind":"update_bucket","update_bucket":{"name":"b","r":1,"ttl":5}}`))
	f.Add([]byte("\x01{"))
	for _, text := range []string{goldenReplace, goldenFilled, goldenGrow, goldenPurge} {
		f.Add([]byte(text))
	}
	var starts []*State
	for _, text := range []string{goldenState, strings.NewReplacer(`"feature":1`, `"feature":3`, `"feature_max":1`, `"feature_max":3`).Replace(goldenState)} {
		start, err := DecodeState([]byte(text))
		if err != nil {
			f.Fatal(err)
		}
		starts = append(starts, start)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommand(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		if again, err := EncodeCommand(c); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q encodes as %q, %v", b, again, err)
		}
		for _, start := range starts {
			if c.FirstRing != nil { // a large claim takes its time
				break
			}
			if next, err := start.Apply(start.Version+1, c); err == nil && next.Check() != nil {
				t.Fatalf("%q makes a bad state: %v", b, next.Check())
			}
		}
	})
}

func FuzzDecodeState(f *testing.F) {
	f.Add([]byte(goldenState))
	f.Add([]byte("\x01" + `{"version":0,"cluster":"00000000000000000000000000000000","feature":0,"replicas":0,"stores":null,"partitions":null,"buckets":null}`))
	f.Add([]byte("\x01[]"))
	f.Add(append([]byte{stateFormat}, strings.NewReplacer(`"feature":1`, `"feature":3`, `"feature_max":1`, `"feature_max":3`, `"replicas":["61000000000000000000000000000000"]`,
		`"replicas":["61000000000000000000000000000000"],"building":["61000000000000000000000000000000"],"session":2,"purge":{"generation":1,"clock":"AAAAAAAAAAcF","time_ms":1}`).Replace(goldenState[1:])...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeState(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		if again := encoded(t, s); !bytes.Equal(again, b) {
			t.Fatalf("%q encodes as %q", b, again)
		}
		r := NewRing(s) // must hold for any state that Check lets in
		for p := range s.Partitions {
			_ = r.Fallbacks(uint32(p), 2)
			_, _ = r.Quorum(uint32(p), 2)
			_, _ = r.Unsettled(uint32(p))
		}
	})
}
