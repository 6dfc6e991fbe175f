package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"warren/mesh/gossip"
)

// Report tells what OpenStore had to repair; the zero Report nothing.
type Report struct {
	Aside    string // file name to which a damaged store.db was moved; empty if it was missing
	Restored int    // items that are there nevertheless
	Cause    string // what was wrong
}

// errDamaged is wrapped when the content of the store is wrong, other than when the disk does not work.
var errDamaged = errors.New("damaged")

// OpenStore opens the items of the folder. A damaged store.db is moved aside as store.db.corrupt-<time>, and a new
// one is filled with what can still be read and with roster.cbor. An error is one of the disk, not of the content.
// Call Run next.
func (f *Folder) OpenStore(log *slog.Logger) (*Store, error) {
	s := &Store{folder: f, log: log, wake: make(chan struct{}, 1), pending: map[gossip.Key]*gossip.Item{}}
	_, err := f.root.Lstat(storeFile)
	missing := errors.Is(err, fs.ErrNotExist)
	rescued, err := s.open()
	if err == nil && !missing {
		return s, nil
	}
	if err != nil && !errors.Is(err, errDamaged) {
		return nil, fmt.Errorf("state: opening the store: %w", err)
	}
	if err != nil {
		s.report.Cause = err.Error()
		if s.report.Aside, err = f.setAside(time.Now()); err != nil {
			return nil, fmt.Errorf("state: setting the damaged store aside: %w", err)
		}
		if _, err := s.open(); err != nil {
			return nil, fmt.Errorf("state: making a new store: %w", err)
		}
	}
	if err := s.restore(rescued); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	if missing && s.report.Restored > 0 {
		s.report.Cause = "it was missing"
	}
	if s.report != (Report{}) {
		log.Warn("store repaired", "cause", s.report.Cause, "aside", s.report.Aside, "restored", s.report.Restored)
	}
	return s, nil
}

// open opens the database and reads all of it. Where that finds damage it returns the items that could be read.
func (s *Store) open() (items []*gossip.Item, err error) {
	var files []*os.File
	err = guard(func() (err error) {
		// The free list stays on disk: without it bbolt walks the tree in a goroutine of its own, whose panic over a
		// damaged page nobody could catch.
		s.db, err = bbolt.Open(storeFile, 0o600, &bbolt.Options{
			Timeout: time.Second, FreelistType: bbolt.FreelistMapType, MaxSize: s.folder.maxStore,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				file, err := s.folder.root.OpenFile(name, flag, mode)
				if err == nil {
					files = append(files, file)
				}
				return file, err
			},
		})
		return err
	})
	if err == nil {
		err = guard(func() error {
			return s.db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucketIfNotExists(bucketName()); return err })
		})
	}
	if err == nil {
		err = guard(func() error { return s.db.View(func(tx *bbolt.Tx) error { return readItems(tx, &items) }) })
	}
	if err == nil {
		return items, nil
	}
	// A database that panicked may hold its own locks for ever: drop the files below it.
	for _, file := range files {
		_ = file.Close()
	}
	if isDamage(err) {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	return items, err
}

func bucketName() []byte { return []byte("items") }

// guard turns a panic over damaged pages into an error; a file cut short is a fault in mapped memory.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return f()
}

// isDamage tells wrong content from a disk that is full, read-only or failing.
func isDamage(err error) bool {
	var number syscall.Errno
	return !errors.As(err, &number) && !errors.Is(err, bolterrors.ErrTimeout) &&
		!errors.Is(err, bolterrors.ErrMaxSizeReached) && !errors.Is(err, fs.ErrPermission)
}

// setAside moves the store away and removes all but the newest of those moved before.
func (f *Folder) setAside(now time.Time) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	names, err := f.names()
	if err != nil {
		return "", err
	}
	old := slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, asidePrefix) })
	for _, name := range old[:max(0, len(old)-2)] {
		if err := f.disk.remove(name); err != nil {
			return "", err
		}
	}
	aside := asidePrefix + now.UTC().Format("20060102T150405.000")
	return aside, errors.Join(f.disk.rename(storeFile, aside), f.disk.sync())
}

// restore fills a new store with what was rescued and with the mirror.
func (s *Store) restore(rescued []*gossip.Item) error {
	if b, err := s.folder.read(mirrorFile); err == nil {
		items, err := decodeMirror(b)
		if err != nil {
			s.log.Warn("mirror of the store unreadable", "err", err)
		}
		rescued = append(rescued, items...)
	} else if !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("mirror of the store unreadable", "err", err)
	}
	for _, it := range rescued {
		if it.Newer(s.pending[it.Key]) {
			s.pending[it.Key] = it
		}
	}
	s.report.Restored = len(s.pending)
	return s.flush()
}

// readItems appends the items of the database; the error tells of those that are damaged.
func readItems(tx *bbolt.Tx, items *[]*gossip.Item) error {
	bad := 0
	b := tx.Bucket(bucketName())
	if b == nil {
		return nil
	}
	err := b.ForEach(func(k, v []byte) error {
		if it := parseRow(k, v); it != nil {
			*items = append(*items, it)
		} else {
			bad++
		}
		return nil
	})
	if err == nil && bad > 0 {
		err = fmt.Errorf("%d items do not match their checksum", bad)
	}
	return err
}

// rowOf writes an item as a row of the database.
func rowOf(it *gossip.Item) (k, v []byte) {
	k = rowKey(it.Key)
	v = make([]byte, 12, 12+len(it.Body))
	binary.BigEndian.PutUint64(v[4:], it.Seq)
	v = append(v, it.Body...)
	binary.BigEndian.PutUint32(v, rowSum(k, v))
	return k, v
}

func rowKey(k gossip.Key) []byte { return append([]byte{byte(k.Kind)}, k.Subject[:]...) }

func rowSum(k, v []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(k, table), table, v[4:])
}

// parseRow reads a row, or returns nil if it is damaged.
func parseRow(k, v []byte) *gossip.Item {
	if len(k) != 33 || len(v) < 12 || binary.BigEndian.Uint32(v) != rowSum(k, v) {
		return nil
	}
	it := &gossip.Item{
		Key:  gossip.Key{Kind: gossip.Kind(k[0]), Subject: [32]byte(k[1:])},
		Seq:  binary.BigEndian.Uint64(v[4:]),
		Body: slices.Clone(v[12:]),
	}
	if !it.Valid() {
		return nil
	}
	return it
}
