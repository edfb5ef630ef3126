package multilog

import "github.com/ringbus/ringbus/internal/invariant"

// The crash points of this package, named after the steps of
// docs/models/multilog.md.
var _ = invariant.Declare(
	"multilog.W6", "multilog.W7", "multilog.W8", "multilog.W9", "multilog.W10", "multilog.W10p", "multilog.W11",
	"multilog.E2", "multilog.E2s", "multilog.E4", "multilog.E5", "multilog.E5b", "multilog.E6",
	"multilog.R3", "multilog.R6", "multilog.R7",
	"multilog.J0", "multilog.J1", "multilog.J2", "multilog.J2a", "multilog.J2b", "multilog.J3", "multilog.J4", "multilog.J5", "multilog.L1", "multilog.L2",
	"multilog.K2", "multilog.K2a", "multilog.K2w", "multilog.K2x", "multilog.K4", "multilog.K4w", "multilog.K5", "multilog.K6",
	"multilog.V1", "multilog.V3", "multilog.V4", "multilog.V5",
)
