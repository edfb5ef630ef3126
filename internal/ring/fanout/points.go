package fanout

import "github.com/ringbus/ringbus/internal/invariant"

// The crash points of this package, named after the steps of
// docs/models/fanout.md.
var _ = invariant.Declare(
	"fanout.A1", "fanout.A2",
	"fanout.O1", "fanout.O2", "fanout.O2n", "fanout.O2j", "fanout.O3",
	"fanout.P1", "fanout.P2", "fanout.P4", "fanout.P5", "fanout.P6", "fanout.P7", "fanout.P8", "fanout.B1",
	"fanout.R1", "fanout.R2", "fanout.H1", "fanout.F1", "fanout.F2", "fanout.K2", "fanout.C1", "fanout.C2",
	"fanout.J0", "fanout.J0a", "fanout.J0b", "fanout.J2", "fanout.J2a",
	"fanout.S2", "fanout.S3", "fanout.S4", "fanout.S5", "fanout.S6", "fanout.W2", "fanout.L1", "fanout.L2", "fanout.L3", "fanout.L4",
	"fanout.Z1", "fanout.Z2",
	"fanout.V1", "fanout.V2", "fanout.V4", "fanout.V5", "fanout.D1", "fanout.D2",
)
