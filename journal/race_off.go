//go:build !race

package journal

// shadowed: see race_on.go.
const shadowed = false
