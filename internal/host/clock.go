package host

import (
	"time"

	"github.com/ringbus/ringbus/internal/sys"
)

// Clock gives wall time for the price of the monotonic clock: it looks at the
// wall clock once a second and counts from there.
type Clock struct {
	base time.Time
	wall int64
	mono int64
}

// since returns the ns since base, which it renews.
func (c *Clock) since() int64 {
	d := time.Since(c.base)
	if d > time.Second || c.wall == 0 {
		c.base = time.Now()
		c.wall, c.mono = c.base.UnixNano(), sys.Monotonic()
		d = 0
	}
	return int64(d)
}

// Now returns ns since 1970, never 0.
func (c *Clock) Now() int64 {
	d := c.since()
	return c.wall + d
}

// Both returns ns of the monotonic clock, which all processes of one kernel
// share, and ns since 1970; neither is ever 0.
func (c *Clock) Both() (mono, wall int64) {
	d := c.since()
	return c.mono + d, c.wall + d
}
