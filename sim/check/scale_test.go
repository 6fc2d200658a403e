package check

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// bigEventual is a legal history of one hot key: writes with the context of the last
// answer, blind ones, siblings, reads.
func bigEventual(n int) ([]Op, map[KeyRef][]string) {
	r := rand.New(rand.NewPCG(1, 2))
	h := make([]Op, 0, n)
	var live []string
	for i := range n {
		o := Op{Client: i % 10, Bucket: "b", Key: "k", Call: Time(2*i) * ms, Return: Time(2*i+1) * ms, Level: Strict}
		switch v := fmt.Sprint("v", i); {
		case r.IntN(2) == 0:
			o.Read = append([]string(nil), live...)
			if r.IntN(2) == 0 {
				o.Level, o.Session = Session, o.Read
			}
		case r.IntN(5) == 0 && len(live) < 8:
			o.Kind, o.Value, o.HasContext = Write, v, true
			live = append(live, v)
		case r.IntN(3) == 0:
			o.Kind, o.Value = Write, v
			live = []string{v}
		default:
			o.Kind, o.Value, o.HasContext, o.Context = Write, v, true, append([]string(nil), live...)
			live = []string{v}
		}
		h = append(h, o)
	}
	return h, map[KeyRef][]string{{"b", "k"}: live}
}

func bigVersions(n int) []Op {
	return registerHistory(rand.New(rand.NewPCG(1, 2)), n, 10, 50)
}

// Ten times what a machine at rest needs, and far below what anything quadratic would.
const scaleMax = 5 * time.Second

func TestAHundredThousandOperations(t *testing.T) {
	h, final := bigEventual(100_000)
	strong := bigVersions(100_000)
	for _, c := range []struct {
		name  string
		check func() []Violation
	}{
		{"eventual", func() []Violation { return Eventual(h, final) }},
		{"strict", func() []Violation { return StrictReads(h) }},
		{"sessions", func() []Violation { return Sessions(h) }},
		{"versions", func() []Violation { return VersionOrder(strong) }},
	} {
		began := time.Now()
		found := c.check()
		took := time.Since(began)
		t.Logf("%s: %v", c.name, took)
		if len(found) > 0 || took > scaleMax {
			t.Errorf("%s took %v and found %v", c.name, took, found)
		}
	}
}

func BenchmarkEventual100k(b *testing.B) {
	h, final := bigEventual(100_000)
	for b.Loop() {
		Eventual(h, final)
	}
}

func BenchmarkVersionOrder100k(b *testing.B) {
	h := bigVersions(100_000)
	for b.Loop() {
		VersionOrder(h)
	}
}

func BenchmarkRegisters200(b *testing.B) {
	h := unversioned(registerHistory(rand.New(rand.NewPCG(1, 2)), 200, 10, 1))
	for b.Loop() {
		Registers(h, RegisterOptions{})
	}
}
