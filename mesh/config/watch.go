package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// watchEvery is how often a file is looked at.
const watchEvery = 2 * time.Second

// Watch calls changed whenever a file has changed, until ctx ends. The file need not exist.
func Watch(ctx context.Context, name string, changed func()) {
	last := stamp(name)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := stamp(name); now != last {
			last = now
			changed()
		}
	}
}

// stamp tells one content of a file from another, cheaply.
func stamp(name string) string {
	info, err := os.Stat(filepath.Clean(name))
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}
