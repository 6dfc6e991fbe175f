package link

import "time"

// bucket is a token bucket: how much of something the other side may make us do.
type bucket struct {
	rate, burst float64 // a second, and at once
	tokens      float64
	filled      time.Time
}

func newBucket(rate, burst float64) *bucket {
	return &bucket{rate: rate, burst: burst, tokens: burst, filled: time.Now()}
}

// full reports whether nothing was taken lately.
func (b *bucket) full() bool {
	return b.tokens+b.rate*time.Since(b.filled).Seconds() >= b.burst
}

// take takes a token, or returns how long it will be until there is one.
func (b *bucket) take() (wait time.Duration) {
	now := time.Now()
	b.tokens, b.filled = min(b.burst, b.tokens+b.rate*now.Sub(b.filled).Seconds()), now
	if b.tokens < 1 {
		return time.Duration((1-b.tokens)/b.rate*float64(time.Second)) + time.Millisecond
	}
	b.tokens--
	return 0
}
