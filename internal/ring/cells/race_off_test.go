//go:build invariants && !race

package cells

const raceEnabled = false
