//go:build planted

package plant

// On tells whether this build can plant bugs.
const On = true

var planted Bug

// Is tells whether b is planted.
func Is(b Bug) bool { return b == planted }

// Set plants b and nothing else. Not while a simulation runs.
func Set(b Bug) { planted = b }
