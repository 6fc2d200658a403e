// Package frames is the second way into a node: pipelined binary frames on a port
// of their own, authenticated by a shared secret. The requests, receipts, errors
// and fates are those of HTTP; node/api has the rules of both. docs/FRAMES.md
// specifies the bytes.
//
// Server. One reader and one writer goroutine for each connection. The reader takes
// all requests of one read system call to their shards in one go, without waiting;
// a shard's answer is appended to the connection's queue, and the writer encodes and
// writes all that has gathered with one system call. So requests of one connection
// run in parallel, and their replies come in the order in which they are ready.
// Beside them, joined by Close: one accept loop, one janitor that ends idle and stuck
// connections, one fetcher that gets a newer ring for requests that need it.
//
// Conn is the client's end: any number of goroutines share it.
package frames
