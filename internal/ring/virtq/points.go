package virtq

import "github.com/ringbus/ringbus/internal/invariant"

// The crash points of this package, named after the steps of
// docs/models/virtq.md.
var _ = invariant.Declare(
	"virtq.A1", "virtq.A2", "virtq.A3",
	"virtq.B1", "virtq.B2", "virtq.E1", "virtq.E2",
	"virtq.D1", "virtq.D2", "virtq.D3", "virtq.U1", "virtq.U2", "virtq.W1", "virtq.W2",
)
