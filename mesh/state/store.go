package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"warren/mesh/gossip"
)

// How long changes wait to be written together.
const (
	flushAfter  = 50 * time.Millisecond
	retryMin    = time.Second      // after an error of the disk, doubling
	retryMax    = 30 * time.Second // the cap of that
	mirrorAfter = time.Second      // for what decides who is a member
	mirrorLate  = time.Minute      // for the rest
)

// Store keeps gossiped items on disk. Its methods are safe for concurrent use.
type Store struct {
	folder *Folder
	log    *slog.Logger
	wake   chan struct{} // holds one token when Run should look at the times below

	commit sync.Mutex // held while items are written, to keep their order; guards the next three
	db     *bbolt.DB  // nil after Close, and after a repair that failed
	file   *os.File   // below db
	closed bool

	mu       sync.Mutex // guards what follows; never held during I/O
	report   Report
	pending  map[gossip.Key]*gossip.Item // not yet written; nil: to be deleted
	flushAt  time.Time                   // zero: nothing to write
	mirrorAt time.Time                   // zero: the mirror is fresh
	retry    time.Duration               // after the last error
	spacing  time.Duration               // between two mirrors: large ones are written seldom
}

// Report tells of the last repair.
func (s *Store) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.report
}

// Put keeps items, replacing those of the same key. It never blocks on the disk: Run writes them within 100 ms, in
// order, and again later where the disk is full.
func (s *Store) Put(items ...*gossip.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range items {
		s.change(it.Key, it)
	}
}

// Delete forgets items in the same manner.
func (s *Store) Delete(ks ...gossip.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range ks {
		s.change(k, nil)
	}
}

// change notes a change; s.mu is held.
func (s *Store) change(k gossip.Key, it *gossip.Item) {
	s.pending[k] = it
	after := mirrorLate
	if k.Kind <= gossip.KindLeft || k.Kind == gossip.KindReceipt {
		after = mirrorAfter
	}
	now := time.Now()
	if s.flushAt.IsZero() {
		s.flushAt = now.Add(flushAfter)
	}
	if at := now.Add(max(after, s.spacing)); s.mirrorAt.IsZero() || at.Before(s.mirrorAt) {
		s.mirrorAt = at
	}
	select {
	case s.wake <- struct{}{}:
	default: // Run will look anyway
	}
}

// PutSync keeps items and returns when they, and all that Put was given before, survive a crash. After an error they are
// not kept: what their makers were told did not happen must not appear later.
func (s *Store) PutSync(items ...*gossip.Item) error {
	s.Put(items...)
	err := s.flush()
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range items {
		switch now, waits := s.pending[it.Key]; {
		case !waits: // Run wrote it meanwhile
			s.change(it.Key, nil)
		case now == it:
			delete(s.pending, it.Key)
		}
	}
	return err
}

// Flush returns when all that Put was given before survives a crash. It does not begin when ctx is done.
func (s *Store) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.flush()
}

// flush writes what is pending. What could not be written stays pending.
func (s *Store) flush() error {
	s.commit.Lock()
	defer s.commit.Unlock()
	var err error
	if s.db != nil {
		err = s.write()
	}
	if s.db == nil || errors.Is(err, errDamaged) {
		if err = s.open(err); err == nil {
			err = s.write()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.retry = 0
		return nil
	}
	s.retry = min(max(2*s.retry, retryMin), retryMax)
	s.flushAt = time.Now().Add(s.retry)
	return fmt.Errorf("state: writing %d items: %w", len(s.pending), err)
}

// write writes what is pending in one transaction; s.commit is held.
func (s *Store) write() error {
	s.mu.Lock()
	batch := s.pending
	s.pending, s.flushAt = map[gossip.Key]*gossip.Item{}, time.Time{}
	s.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := guard(func() error { return s.db.Update(func(tx *bbolt.Tx) error { return writeItems(tx, batch) }) })
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, it := range batch {
		if _, newer := s.pending[k]; !newer {
			s.pending[k] = it
		}
	}
	return err
}

func writeItems(tx *bbolt.Tx, batch map[gossip.Key]*gossip.Item) error {
	b, err := tx.CreateBucketIfNotExists(bucketName())
	if err != nil {
		return err
	}
	for _, key := range slices.SortedFunc(maps.Keys(batch), gossip.Key.Compare) {
		it := batch[key]
		if it == nil {
			err = b.Delete(rowKey(key))
		} else {
			k, v := rowOf(it)
			err = b.Put(k, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Load returns all items, those not yet written included, sorted by key.
func (s *Store) Load() ([]*gossip.Item, error) {
	s.commit.Lock()
	defer s.commit.Unlock()
	items, err := s.load()
	if err != nil {
		return nil, fmt.Errorf("state: loading items: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) > 0 {
		items = slices.DeleteFunc(items, func(it *gossip.Item) bool { _, changed := s.pending[it.Key]; return changed })
		for _, it := range s.pending {
			if it != nil {
				items = append(items, it)
			}
		}
		slices.SortFunc(items, func(a, b *gossip.Item) int { return a.Compare(b.Key) })
	}
	return items, nil
}

// load reads the database, and repairs it if need be.
func (s *Store) load() (items []*gossip.Item, err error) {
	if s.db != nil {
		if items, err = s.read(); !errors.Is(err, errDamaged) {
			return items, err
		}
	}
	if err = s.open(err); err != nil {
		return nil, err
	}
	return s.read()
}

// Run writes what Put was given, and the copy in roster.cbor about a second after a change, until ctx is done; then it
// writes the rest and returns the last error of the disk, if one is left.
func (s *Store) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	failing := false
	for {
		s.mu.Lock()
		flushAt, mirrorAt := s.flushAt, s.mirrorAt
		s.mu.Unlock()
		next := time.Now().Add(time.Hour)
		for _, at := range []time.Time{flushAt, mirrorAt} {
			if !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return s.finish()
		case <-s.wake:
			continue
		case <-timer.C:
		}
		var err error
		tried := false
		if now := time.Now(); !flushAt.IsZero() && !now.Before(flushAt) {
			tried, err = true, s.flush()
		}
		if now := time.Now(); err == nil && !mirrorAt.IsZero() && !now.Before(mirrorAt) {
			tried, err = true, s.mirror()
		}
		if tried && (err != nil) != failing { // once, not at each retry
			if failing = err != nil; failing {
				s.log.Error("cannot write the store; will try again", "err", err)
			} else {
				s.log.Info("the store is written again")
			}
		}
	}
}

// mirror writes the copy.
func (s *Store) mirror() error {
	s.mu.Lock()
	s.mirrorAt = time.Time{}
	s.mu.Unlock()
	start := time.Now()
	items, err := s.Load()
	if err == nil {
		var b []byte
		if b, err = encodeMirror(items); err == nil {
			err = s.folder.write(mirrorFile, b)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spacing = min(100*time.Since(start), 5*time.Minute)
	if err != nil {
		s.mirrorAt = time.Now().Add(max(retryMax, s.spacing))
	}
	return err
}

// finish writes what is left.
func (s *Store) finish() error {
	err := s.flush()
	s.mu.Lock()
	stale := !s.mirrorAt.IsZero()
	s.mu.Unlock()
	if err == nil && stale {
		err = s.mirror()
	}
	return err
}

// Close closes the database, after Run has returned. What was not written is written first.
func (s *Store) Close() error {
	err := s.finish()
	s.commit.Lock()
	defer s.commit.Unlock()
	if s.db != nil {
		err = errors.Join(err, guard(s.db.Close))
	}
	s.db, s.file, s.closed = nil, nil, true
	return err
}
