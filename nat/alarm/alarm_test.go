package alarm

import (
	"slices"
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	start := time.Unix(0, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	var c Clock
	var fired []string
	alarms := map[string]*Alarm{}
	for _, name := range []string{"a", "b", "c", "d", "again"} {
		alarms[name] = New(func(now time.Time) {
			fired = append(fired, name)
			if name == "again" && now.Before(at(8)) {
				c.Set(alarms[name], now.Add(2*time.Second))
			}
		})
	}
	if _, ok := c.Next(); ok {
		t.Error("an empty clock has a next alarm")
	}
	c.Clear(nil)
	c.Clear(alarms["a"])
	c.Set(alarms["a"], at(9))
	c.Set(alarms["b"], at(3))
	c.Set(alarms["c"], at(1))
	c.Set(alarms["d"], at(4))
	c.Set(alarms["again"], at(5))
	c.Set(alarms["a"], at(2)) // earlier than before
	c.Clear(alarms["d"])
	if next, ok := c.Next(); !ok || next != at(1) {
		t.Errorf("next %v, %v", next, ok)
	}
	for s := range 12 {
		c.Run(at(s))
	}
	want := []string{"c", "a", "b", "again", "again", "again"}
	if !slices.Equal(fired, want) {
		t.Errorf("fired %v, want %v", fired, want)
	}
	if alarms["again"].Pending() || alarms["d"].Pending() {
		t.Error("something is still pending")
	}
}
