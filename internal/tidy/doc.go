// Package tidy is the house rules as a test: which package may import which, what
// the pure levels must not touch, and a few rules of style. It parses the module's
// source and nothing else. A finding says where, what, and what to do instead;
// where a rule may be broken for a reason, the line carries a comment that gives it.
package tidy
