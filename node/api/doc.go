// Package api holds the rules that every way into a node shares: what a request on
// a key may look like, what its parameters mean, which status, code, fate and advice
// an answer carries, and what a reader is shown of a reply. HTTP and frames parse
// and print; what is allowed and what it means is said here, once.
package api
