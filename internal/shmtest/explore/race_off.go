//go:build invariants && !race

package explore

const raceEnabled = false
