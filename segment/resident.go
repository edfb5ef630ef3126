package segment

import (
	"fmt"

	"github.com/ringbus/ringbus/internal/mem"
)

// compatResident is the compatible feature: the pages of the whole segment are
// reserved, and stay.
const compatResident = 1

// Reside takes all pages of the segment from the file system, for good. It must
// come before a virtual machine gets the segment: a program in it cannot reserve
// what it makes areas of, and where no page is left the machine dies of it. The
// error is a [SpaceError] if there are not enough; it may be called again.
func (s *Segment) Reside() error {
	switch {
	case s.opts.ReadOnly:
		return ErrReadOnly
	case s.f == nil || s.fixed:
		return nil
	}
	// The mark first: who frees an area from here on leaves its pages.
	mem.U64(s.b, sbCompat).Or(compatResident)
	if err := reserve(s.f, s.path, 0, s.Size()); err != nil {
		return fmt.Errorf("reserve all of bus %s: %w", s.path, err)
	}
	return nil
}

// resident says whether pages stay.
func (s *Segment) resident() bool { return mem.U64(s.b, sbCompat).Load()&compatResident != 0 }
