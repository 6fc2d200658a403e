// Package client is the Go client of quorate.
//
//	c, err := client.New(client.Config{Endpoints: []string{"http://127.0.0.1:7400"}})
//	defer c.Close()
//	b := c.Bucket("carts")
//	v, err := b.Get(ctx, "cart:17")
//	r, err := b.Put(ctx, "cart:17", data, client.With(v.Context))
//
// A client fetches the ring, sends each request straight to an owner of its key and
// follows every change of the ring. It repeats what can be repeated: reads, writes
// that were not applied, and writes whose outcome is unknown under the same
// idempotency key, within the deadline, a number of attempts and a budget of retries.
// Reads that are late are sent to a second owner. Errors say what became of a write.
//
// docs/CLIENT.md is the guide; docs/GUARANTEES.md says what each choice promises.
package client
