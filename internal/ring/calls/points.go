package calls

import "github.com/ringbus/ringbus/internal/invariant"

// The crash points of this package.
var _ = invariant.Declare(
	"calls.C1", "calls.C2", "calls.C3", "calls.C4", "calls.C5", "calls.C6", "calls.C7", "calls.C8",
	"calls.S1", "calls.S2", "calls.S3", "calls.S4", "calls.S5", "calls.L1", "calls.L2", "calls.L3", "calls.L4",
	"calls.V1", "calls.V2",
)
