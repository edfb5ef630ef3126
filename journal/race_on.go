//go:build race

package journal

// shadowed: what is reserved is memory of its own, which Commit copies. A reader
// that is lapped may copy bytes that a writer is about to write, and throws them
// away; of the race detector's world this is no part.
const shadowed = true
