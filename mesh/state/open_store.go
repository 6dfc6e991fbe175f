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
	if err := s.open(nil); err != nil {
		return nil, fmt.Errorf("state: opening the store: %w", err)
	}
	if err := s.flush(); err != nil {
		log.Error("cannot write the store; will try again", "err", err)
	}
	return s, nil
}

// open opens the database, repairs it if it is damaged, which cause says if that is known already, and adds what only
// the mirror has: a repair may have been cut short. s.commit is held, or nobody else has s yet.
func (s *Store) open(cause error) error {
	if s.closed {
		return errors.New("the store is closed")
	}
	s.drop()
	kept, err := s.openFile()
	if err == nil && cause != nil {
		s.drop()
		err = cause
	}
	var lost []*gossip.Item // no longer in the file
	report := Report{}
	if errors.Is(err, errDamaged) {
		kept, lost = nil, kept
		report.Cause = err.Error()
		if report.Aside, err = s.folder.setAside(time.Now()); err != nil {
			return fmt.Errorf("setting the damaged store aside: %w", err)
		}
		_, err = s.openFile()
	}
	if err != nil {
		return err
	}
	if report.Restored = s.restore(kept, append(lost, readMirror(s.folder, s.log)...)); report.Restored > 0 && report.Cause == "" {
		report.Cause = "it lacked items of its copy"
	}
	if report != (Report{}) {
		s.mu.Lock()
		s.report = report
		s.mu.Unlock()
		s.log.Warn("store repaired", "cause", report.Cause, "aside", report.Aside, "restored", report.Restored)
	}
	return nil
}

// openFile opens the database and reads all of it. Where that finds damage it returns the items that could be read.
func (s *Store) openFile() (items []*gossip.Item, err error) {
	if err := checkStore(s.folder.root); err != nil {
		return nil, err
	}
	err = guard(func() (err error) {
		s.db, err = bbolt.Open(storeFile, 0o600, &bbolt.Options{
			Timeout: time.Second, FreelistType: bbolt.FreelistMapType, MaxSize: s.folder.maxStore,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				file, err := s.folder.root.OpenFile(name, flag, mode)
				s.file = file
				return file, err
			},
		})
		return err
	})
	if err == nil {
		items, err = s.read()
	}
	if err != nil {
		s.drop()
		if isDamage(err) && !errors.Is(err, errDamaged) {
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	return items, err
}

// checkStore looks at the structure of the store, if there is one.
func checkStore(root *os.Root) error {
	info, err := root.Lstat(storeFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular(): // a pipe would be opened for ever
		return damage("not a plain file")
	}
	file, err := root.Open(storeFile)
	if err != nil {
		return err
	}
	defer file.Close()
	return checkPages(file)
}

// drop lets go of the database. One that panicked may hold its own locks for ever, so only the file below is closed.
func (s *Store) drop() {
	if s.file != nil {
		_ = s.file.Close()
	}
	s.db, s.file = nil, nil
}

// read returns the items of the database.
func (s *Store) read() (items []*gossip.Item, err error) {
	err = guard(func() error { return s.db.View(func(tx *bbolt.Tx) error { return readItems(tx, &items) }) })
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

// restore has Run write items that the database lacks, and returns how many these are. What changed meanwhile stays.
func (s *Store) restore(kept, items []*gossip.Item) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := make(map[gossip.Key]*gossip.Item, len(kept))
	for _, it := range slices.Concat(kept, items) {
		if it.Newer(newest[it.Key]) {
			newest[it.Key] = it
		}
	}
	for _, it := range items {
		_, left := newest[gossip.Key{Kind: gossip.KindLeft, Subject: it.Subject}]
		_, changed := s.pending[it.Key]
		if newest[it.Key] != it || changed || left && it.Kind == gossip.KindRecord {
			continue
		}
		s.pending[it.Key], s.flushAt = it, time.Now()
		n++
	}
	return n
}

// readMirror returns the items of the mirror, as far as it is good.
func readMirror(f *Folder, log *slog.Logger) []*gossip.Item {
	b, err := f.read(mirrorFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var items []*gossip.Item
	if err == nil {
		items, err = decodeMirror(b)
	}
	if err != nil {
		log.Warn("mirror of the store unreadable", "err", err)
	}
	return items
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
		err = damage("%d items do not match their checksum", bad)
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
