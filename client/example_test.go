package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/quoratedb/quorate/client"
)

// connect makes a client of the tests' cluster and waits until it serves; outside of
// examples it is client.New with the addresses of some nodes.
func connect() *client.Client {
	endpoints, err := client.Endpoints()
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.New(client.Config{Endpoints: endpoints})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	return c
}

func Example() {
	c := connect() // client.New(client.Config{Endpoints: []string{"http://127.0.0.1:7400"}})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	carts := c.Bucket("default")
	if _, err := carts.Put(ctx, "cart:17", []byte("bread"), client.ContentType("text/plain")); err != nil {
		log.Fatal(err)
	}
	v, err := carts.Get(ctx, "cart:17")
	if err != nil {
		log.Fatal(err)
	}
	// The write carries what the read saw: it replaces that, and nothing else.
	r, err := carts.Put(ctx, "cart:17", append(v.Data, ", salt"...), client.With(v.Context), client.W(2))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Receipt.Synced >= 2)
	v, err = carts.Get(ctx, "cart:17", client.Strict())
	fmt.Println(string(v.Data), err)
	_, err = carts.Get(ctx, "cart:18")
	fmt.Println(errors.Is(err, client.ErrNotFound))
	// Output:
	// true
	// bread, salt <nil>
	// true
}

func ExampleBucket_Update() {
	c := connect()
	defer c.Close()
	tags := c.Bucket("default")
	add := func(tag string) error {
		_, err := tags.Update(context.Background(), "tags:1", func(v *client.Value) ([]byte, error) {
			all := strings.Fields(string(v.Data) + " " + tag)
			for _, s := range v.Siblings { // concurrent writes: their union
				all = append(all, strings.Fields(string(s.Data))...)
			}
			slices.Sort(all)
			return []byte(strings.Join(slices.Compact(all), " ")), nil
		})
		return err
	}
	fmt.Println(add("red"), add("blue"), add("red"))
	v, err := tags.Get(context.Background(), "tags:1")
	fmt.Println(string(v.Data), err)
	// Output:
	// <nil> <nil> <nil>
	// blue red <nil>
}

func ExampleBucket_List() {
	c := connect()
	defer c.Close()
	ctx := context.Background()
	b := c.Bucket("default")
	if _, err := b.Batch(ctx, []client.Operation{{Key: "user:1", Data: []byte("Ada")}, {Key: "user:2", Data: []byte("Alan")}}, client.All()); err != nil {
		log.Fatal(err)
	}
	for item, err := range b.List(ctx, client.ListOptions{Prefix: "user:", Values: true}) {
		if err != nil {
			log.Fatal(err) // client.ErrIncomplete: keys are missing
		}
		fmt.Println(item.Key, string(item.Data))
	}
	// Output:
	// user:1 Ada
	// user:2 Alan
}

func ExampleBucket_PutIf() {
	c := connect()
	defer c.Close()
	ctx := context.Background()
	if _, err := c.Buckets().Create(ctx, client.BucketConfig{Name: "locks", Mode: "strong"}); err != nil {
		log.Fatal(err)
	}
	locks := c.Bucket("locks")
	held, err := locks.PutIf(ctx, "job", []byte("me"), "") // only if nobody holds it
	if err != nil {
		log.Fatal(err)
	}
	_, err = locks.PutIf(ctx, "job", []byte("you"), "")
	fmt.Println(errors.Is(err, client.ErrPreconditionFailed))
	_, err = locks.DeleteIf(ctx, "job", held.ETag) // only if it is still mine
	fmt.Println(err)

	_, err = locks.Swap(ctx, "seats", func(v *client.Value) ([]byte, error) {
		return append(v.Data, "A7 "...), nil // called again if somebody else was faster
	})
	fmt.Println(err)
	n, err := locks.Increment(ctx, "jobs", 2)
	fmt.Println(n.Value, err)
	// Output:
	// true
	// <nil>
	// <nil>
	// 2 <nil>
}

func ExampleClient_Session() {
	c := connect()
	defer c.Close()
	ctx := context.Background()
	mine := c.Session().Bucket("default")
	if _, err := mine.Put(ctx, "profile:9", []byte("new"), client.W(1)); err != nil {
		log.Fatal(err)
	}
	// One replica is asked, and still it is at least what this session wrote.
	v, err := mine.Get(ctx, "profile:9", client.R(1))
	fmt.Println(string(v.Data), err)
	// Output: new <nil>
}

func ExampleError() {
	c := connect()
	defer c.Close()
	_, err := c.Bucket("default").Put(context.Background(), "k", []byte("v"), client.W(7))
	if f := new(client.Error); errors.As(err, &f) {
		switch {
		case f.Outcome == client.Unknown:
			// It may be there. The same write again, as often as needed:
			// Put(ctx, "k", v, client.IdempotencyKey(f.IdempotencyKey))
		case f.Retryable:
			// Nothing happened; later it may.
		}
		fmt.Println(f.Code, f.Outcome, f.Retryable)
	}
	// Output: quorum_impossible not_applied false
}
