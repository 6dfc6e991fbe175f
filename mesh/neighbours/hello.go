package neighbours

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"warren/keys/canon"
	"warren/nat/call"
)

// Hello is what an agent says first on a link.
type Hello struct {
	Run     [8]byte       // of the agent: random, new at each start
	Age     time.Duration // how long its tunnels can be old, in milliseconds
	Skew    time.Duration // how far its clock is ahead of ours, in seconds
	Release string
}

// wireHello is the body of the hello frame.
type wireHello struct {
	Version uint64 `cbor:"1,keyasint"`           // of this protocol: 1
	Run     []byte `cbor:"2,keyasint"`           // 8 bytes
	Unix    int64  `cbor:"3,keyasint"`           // wall time in milliseconds
	Release string `cbor:"4,keyasint"`           // printable ASCII, at most 64 bytes
	Age     uint64 `cbor:"5,keyasint"`           // milliseconds
	Extra   []byte `cbor:"6,keyasint,omitempty"` // room for later versions
}

const (
	helloVersion = 1
	maxHello     = 1 << 10
	maxRelease   = 64
)

// Encode returns the body of our hello; Skew is not in it.
func (h Hello) Encode(now time.Time) []byte {
	b, err := canon.Marshal(wireHello{Version: helloVersion, Run: h.Run[:], Unix: now.UnixMilli(), Release: h.Release, Age: uint64(h.Age.Milliseconds())})
	if err != nil {
		panic("neighbours: a hello of ours cannot be encoded: " + err.Error())
	}
	return b
}

// ParseHello reads a hello that came now. A higher version is welcome: it must understand ours.
func ParseHello(b []byte, now time.Time) (Hello, error) {
	var w wireHello
	if err := canon.Unmarshal(b, maxHello, &w); err != nil {
		return Hello{}, fmt.Errorf("neighbours: reading a hello: %w", err)
	}
	if len(w.Run) != 8 || w.Version < helloVersion || !printable(w.Release) {
		return Hello{}, fmt.Errorf("neighbours: reading a hello: version %d, run of %d bytes, release %.70q", w.Version, len(w.Run), w.Release)
	}
	skew := time.UnixMilli(w.Unix).Sub(now.Round(0)).Round(time.Second)
	return Hello{Run: [8]byte(w.Run), Age: call.Duration(w.Age), Skew: skew, Release: w.Release}, nil
}

func printable(release string) bool {
	return len(release) <= maxRelease && strings.IndexFunc(release, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// Median is how far the members' clocks are ahead of ours, if that is more than an hour: the median of ours, the
// neighbours' and more. Of an even number it is the one of the middle two that is believable, else the later, as clocks
// that were never set are behind.
func (t *Table) Median(believable func(ahead time.Duration) bool, more ...time.Duration) time.Duration {
	skews := append([]time.Duration{0}, more...)
	for _, n := range t.byID {
		skews = append(skews, n.Skew)
	}
	slices.Sort(skews)
	mid := len(skews) / 2
	if len(skews)%2 == 0 && believable(skews[mid-1]) && !believable(skews[mid]) {
		mid--
	}
	if median := skews[mid]; median.Abs() > time.Hour {
		return median
	}
	return 0
}
