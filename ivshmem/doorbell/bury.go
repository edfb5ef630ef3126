package doorbell

import "github.com/ringbus/ringbus/segment"

// slots is how many nodes a bus has (docs/format.md, 1.1).
const slots = 256

// Bury is what Options.Gone does over a bus: it recovers the nodes of other
// kernels whose doors name the id. It says whether none is left.
func Bury(n *segment.Node, id uint16) bool {
	left := false
	for slot := range slots {
		if !n.Gone(slot, id) {
			left = true
		}
	}
	return !left
}
