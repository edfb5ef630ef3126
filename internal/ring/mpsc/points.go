package mpsc

import "github.com/ringbus/ringbus/internal/invariant"

// The crash points of this package, named after the steps of
// docs/models/mpsc.md.
var _ = invariant.Declare(
	"mpsc.S1", "mpsc.S4", "mpsc.S5", "mpsc.S5r", "mpsc.S6", "mpsc.S7", "mpsc.W2", "mpsc.L1", "mpsc.L3", "mpsc.N1",
	"mpsc.X1", "mpsc.X2", "mpsc.X3", "mpsc.X4", "mpsc.X5", "mpsc.X6", "mpsc.X7", "mpsc.X7r", "mpsc.X8", "mpsc.X9", "mpsc.X10", "mpsc.K2",
	"mpsc.T0", "mpsc.T1", "mpsc.T2", "mpsc.G1", "mpsc.G3", "mpsc.G4",
	"mpsc.R1", "mpsc.R2", "mpsc.R3", "mpsc.R4",
)
