package state

import (
	"context"
	"errors"
	"log/slog"

	"warren/mesh/gossip"
)

// Store keeps gossiped items on disk. Its methods are safe for concurrent use.
type Store struct{}

// Report tells what OpenStore had to repair; the zero Report nothing.
type Report struct {
	Aside    string // file name to which a damaged store.db was moved
	Restored int    // items taken from roster.cbor instead
	Cause    string // what was wrong
}

// OpenStore opens the items of the folder. A damaged store.db is moved aside as store.db.corrupt-<time>, and a new
// one is filled from roster.cbor. An error is one of the disk, not of the content. Call Run next.
func (f *Folder) OpenStore(log *slog.Logger) (*Store, error) { return nil, errors.ErrUnsupported }

// Report tells what OpenStore had to repair.
func (s *Store) Report() Report { return Report{} }

// Load returns all items, those not yet written included, sorted by key.
func (s *Store) Load() ([]*gossip.Item, error) { return nil, nil }

// Put keeps items, replacing those of the same key. It never blocks on the disk: Run writes them within 100 ms, in
// order, and again later where the disk is full.
func (s *Store) Put(items ...*gossip.Item) {}

// Delete forgets items in the same manner.
func (s *Store) Delete(ks ...gossip.Key) {}

// PutSync keeps items and returns when they, and all that Put was given before, survive a crash.
func (s *Store) PutSync(items ...*gossip.Item) error { return nil }

// Flush returns when all that Put was given before survives a crash.
func (s *Store) Flush(ctx context.Context) error { return nil }

// Run writes what Put was given, and the copy in roster.cbor about a second after a change, until ctx is done; then it
// writes the rest and returns the last error of the disk, if one is left.
func (s *Store) Run(ctx context.Context) error { return nil }

// Close closes the database, after Run has returned. What was not written is written first.
func (s *Store) Close() error { return nil }
