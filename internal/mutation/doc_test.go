// Package mutation proves that the tests of the fanout ring would notice: it
// breaks the code in one place after the other (mutants_test.go) and runs the
// test that must fail then. It also runs the ring's explorer on a simulated
// memory, where every atomic access is a place to let others go on, and release
// stores are seen late.
//
// Its tests choose the build of the ring themselves, so they are left out of
// the builds with -race and -tags invariants.
package mutation
