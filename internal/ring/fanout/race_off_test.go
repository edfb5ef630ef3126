//go:build invariants && !race

package fanout

const raceEnabled = false
