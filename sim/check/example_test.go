package check_test

import (
	"fmt"
	"time"

	"github.com/quoratedb/quorate/sim/check"
)

// A value is written, deleted by somebody who had read it, and is there again.
func Example() {
	key := check.KeyRef{Bucket: "carts", Key: "ann"}
	history := []check.Op{
		{Client: 1, Kind: check.Write, Bucket: "carts", Key: "ann", Call: 0, Return: 2 * time.Millisecond, Value: "milk"},
		{Client: 2, Kind: check.Delete, Bucket: "carts", Key: "ann", Call: 5 * time.Millisecond, Return: 8 * time.Millisecond,
			HasContext: true, Context: []string{"milk"}},
	}
	for _, v := range check.Eventual(history, map[check.KeyRef][]string{key: {"milk"}}) {
		fmt.Println(v)
	}
	// Output:
	// eventual: RESURRECTED of carts/ann: milk is left, and a delete that had seen it replaced it [0 1]
}

// The same stale read is fine where eventual consistency was asked for, and not where
// a register was.
func ExampleRegisters() {
	history := []check.Op{
		{Client: 1, Kind: check.Write, Bucket: "b", Key: "k", Call: 0, Return: 2 * time.Millisecond, Value: "new"},
		{Client: 2, Kind: check.Read, Bucket: "b", Key: "k", Call: 3 * time.Millisecond, Return: 4 * time.Millisecond},
	}
	fmt.Println(len(check.Eventual(history, nil)), len(check.Registers(history, check.RegisterOptions{})))
	// Output: 0 1
}
