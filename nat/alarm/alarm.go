// Package alarm keeps things to do, each at a time of its own, for one goroutine that waits for the earliest. It has no
// clock.
package alarm

import (
	"container/heap"
	"time"
)

// An Alarm is something to do at a time.
type Alarm struct {
	at    time.Time
	index int // in the heap; -1 while it is not set
	fire  func(now time.Time)
}

// New returns an Alarm that is not set and will call fire.
func New(fire func(now time.Time)) *Alarm { return &Alarm{index: -1, fire: fire} }

// Pending reports whether a is set.
func (a *Alarm) Pending() bool { return a.index >= 0 }

// Clock is a set of alarms; the zero Clock is empty.
type Clock struct{ heap alarms }

// Set sets a to at, whether it was set before or not.
func (c *Clock) Set(a *Alarm, at time.Time) {
	a.at = at
	if a.index < 0 {
		heap.Push(&c.heap, a)
		return
	}
	heap.Fix(&c.heap, a.index)
}

// Clear takes a out, if it is set; a may be nil.
func (c *Clock) Clear(a *Alarm) {
	if a != nil && a.index >= 0 {
		heap.Remove(&c.heap, a.index)
	}
}

// Next returns when the earliest alarm is due, and whether there is one.
func (c *Clock) Next() (time.Time, bool) {
	if len(c.heap) == 0 {
		return time.Time{}, false
	}
	return c.heap[0].at, true
}

// Run fires what is due at now, the earliest first. An alarm may set itself again, for later.
func (c *Clock) Run(now time.Time) {
	for len(c.heap) > 0 && !c.heap[0].at.After(now) {
		a := c.heap[0]
		heap.Remove(&c.heap, 0)
		a.fire(now)
	}
}

// alarms implements heap.Interface.
type alarms []*Alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }

func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}

// Push appends x, for container/heap alone.
func (a *alarms) Push(x any) {
	if al, ok := x.(*Alarm); ok {
		al.index = len(*a)
		*a = append(*a, al)
	}
}

// Pop takes the last out, for container/heap alone.
func (a *alarms) Pop() any {
	old := *a
	last := old[len(old)-1]
	old[len(old)-1] = nil
	last.index = -1
	*a = old[:len(old)-1]
	return last
}
