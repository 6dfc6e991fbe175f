package clock

import (
	"testing"
	"time"
)

func TestOffset(t *testing.T) {
	for _, tt := range []struct {
		env  string
		want time.Duration
		bad  bool
	}{
		{env: "", want: 0},
		{env: "8760h", want: 8760 * time.Hour},
		{env: "-1h30m", want: -90 * time.Minute},
		{env: "yesterday", bad: true},
	} {
		t.Setenv(Env, tt.env)
		c, err := FromEnv()
		if (err != nil) != tt.bad {
			t.Fatalf("FromEnv with %q: error %v, want error: %v", tt.env, err, tt.bad)
		}
		if got := time.Until(c.Now()).Round(time.Minute); !tt.bad && got != tt.want {
			t.Errorf("with %q the clock is shifted by %v, want %v", tt.env, got, tt.want)
		}
	}
}

func TestBuildDateIsInThePast(t *testing.T) {
	if got := BuildDate(); got.After(time.Now()) || got.Before(released) {
		t.Errorf("BuildDate() = %v, want between %v and now", got, released)
	}
}
