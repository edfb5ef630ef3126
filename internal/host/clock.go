package host

import "time"

// Clock gives wall time for the price of the monotonic clock: it looks at the
// wall clock once a second and counts from there.
type Clock struct {
	base time.Time
	wall int64
}

// Now returns ns since 1970, never 0.
func (c *Clock) Now() int64 {
	d := time.Since(c.base)
	if d > time.Second || c.wall == 0 {
		c.base = time.Now()
		c.wall = c.base.UnixNano()
		d = 0
	}
	return c.wall + int64(d)
}
