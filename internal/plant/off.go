//go:build !planted

package plant

// On tells whether this build can plant bugs.
const On = false

// Is tells whether b is planted: never, in this build.
func Is(Bug) bool { return false }
