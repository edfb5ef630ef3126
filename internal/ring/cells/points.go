package cells

import "github.com/ringbus/ringbus/internal/invariant"

// The crash points of this package, named after the steps of
// docs/models/cells.md.
var _ = invariant.Declare(
	"cells.T2", "cells.T2a", "cells.R2", "cells.R3", "cells.P1", "cells.P2", "cells.P2a", "cells.P2b", "cells.P3", "cells.P4", "cells.P5",
	"cells.G1", "cells.G2", "cells.E1", "cells.E2", "cells.E3", "cells.K1", "cells.K2", "cells.K3", "cells.F2",
	"cells.J0", "cells.J0a", "cells.J1", "cells.J2", "cells.J4",
	"cells.B1", "cells.B1e", "cells.B2", "cells.B3", "cells.B4", "cells.W2", "cells.L1", "cells.L1a", "cells.L2", "cells.L3",
	"cells.M1", "cells.M2", "cells.M2a", "cells.M3", "cells.M4", "cells.M5", "cells.M6",
	"cells.C3", "cells.C4", "cells.C6", "cells.C8", "cells.F1", "cells.F3",
	"cells.A1", "cells.N1", "cells.N2", "cells.N3", "cells.N4", "cells.N5",
	"cells.V2", "cells.V3", "cells.V3a", "cells.V3b", "cells.V4", "cells.V4a", "cells.V5a", "cells.V5b", "cells.V5", "cells.V6",
)
