package shmtest

import (
	"flag"
	"math/rand/v2"
	"os"
	"strconv"
)

// Seed is where random tests begin: another number each time, so that every run
// of the tests explores what none did before, or always $RINGBUS_SEED, so that
// what passed passes again, as scripts/test.sh has it. Whoever uses it names it
// when it fails, and can be told it.
func Seed() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("RINGBUS_SEED"), 10, 64); err == nil && n != 0 {
		return n
	}
	return rand.Uint64()
}

// RapidSeed has package rapid begin at [Seed], unless it was told another.
func RapidSeed() {
	if f := flag.Lookup("rapid.seed"); f != nil && f.Value.String() == "0" {
		_ = f.Value.Set(strconv.FormatUint(Seed(), 10))
	}
}
