//go:build !race && !invariants

package mutation

var multilogMutants = []mutant{}
