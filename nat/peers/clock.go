package peers

import "time"

// Clock gives stamps: nanoseconds since shortly before its base. 0 is "never".
type Clock struct {
	now  func() time.Time
	base time.Time
}

// NewClock returns a Clock on now, which needs a monotonic part, for times from base on.
func NewClock(now func() time.Time, base time.Time) Clock { return Clock{now: now, base: base} }

// Now returns the time.
func (c Clock) Now() time.Time { return c.now() }

// Stamp returns the stamp of t.
func (c Clock) Stamp(t time.Time) int64 { return int64(t.Sub(c.base)) + 1 }

// Time is the inverse of Stamp; the zero time for 0.
func (c Clock) Time(stamp int64) time.Time {
	if stamp == 0 {
		return time.Time{}
	}
	return c.base.Add(time.Duration(stamp - 1))
}
