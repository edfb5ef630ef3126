// Package lint is the rules of this repository as tests.
//
// The table in floors.go is the architecture: who may import whom, and who owns
// unsafe and the system calls. The other files hold one checker each. A checker
// takes a [Tree] and returns findings; every finding says where, what is wrong
// and what to do. repo_test.go runs them on the repository, the other tests run
// each of them on a bad sample, so that a checker that finds nothing is noticed.
//
// Comments that lift a rule at one place, always with a reason:
//
//	//ringbus:long reason   before the package clause: the file may exceed 400 lines;
//	                        in a function's comment: the function may exceed 70
//	//ringbus:skip reason   beside a test's Skip, or on the line above
package lint
