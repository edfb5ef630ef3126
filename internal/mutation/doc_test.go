// Package mutation proves that the tests of the rings would notice: it breaks
// the code in one place after the other (mutants_fanout_test.go and so on) and
// runs the test that must fail then. It also runs each ring's explorer on a
// simulated memory, where every atomic access is a place to let others go on,
// and release stores are seen late.
//
// Its tests choose the build of the rings themselves, so they are left out of
// the builds with -race and -tags invariants.
package mutation
