//go:build race

package store

// See norace_test.go.
const powerCutsDefault = 100

var crashOptions = Options{WriteBuffer: 8 << 20, TableSize: 4 << 10}
