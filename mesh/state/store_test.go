package state

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"warren/mesh/gossip"
)

// row makes an item whose body says which it is.
func row(k gossip.Kind, i int, seq uint64) *gossip.Item {
	it := &gossip.Item{Key: gossip.Key{Kind: k}, Seq: seq}
	binary.BigEndian.PutUint32(it.Subject[:], uint32(i)*2654435761)
	it.Body = fmt.Appendf(nil, "%d %d %d %0300d", k, i, seq, 0)
	return it
}

// rows are certificates and records of n members, sorted.
func rows(n int) (items []*gossip.Item) {
	for i := range n {
		items = append(items, row(gossip.KindCertificate, i, 7), row(gossip.KindRecord, i, uint64(i)))
	}
	slices.SortFunc(items, func(a, b *gossip.Item) int { return a.Compare(b.Key) })
	return items
}

func equal(a, b []*gossip.Item) bool {
	return slices.EqualFunc(a, b, func(a, b *gossip.Item) bool {
		return a.Key == b.Key && a.Seq == b.Seq && string(a.Body) == string(b.Body)
	})
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// stored opens the store of a folder and closes it at the end of the test.
func stored(t testing.TB, f *Folder) *Store {
	t.Helper()
	s, err := f.OpenStore(quiet())
	if err != nil {
		t.Fatalf("OpenStore: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func load(t testing.TB, s *Store) []*gossip.Item {
	t.Helper()
	items, err := s.Load()
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return items
}

// filled makes a folder whose store and mirror hold items, and closes it.
func filled(t testing.TB, items ...*gossip.Item) (dir string) {
	t.Helper()
	dir = t.TempDir()
	f := must(open(dir, noGroup))
	s := stored(t, f)
	for part := range slices.Chunk(items, 50) { // so that pages are freed and used again
		if err := s.PutSync(part...); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestStoreKeepsItems(t *testing.T) {
	f := opened(t, t.TempDir())
	s := stored(t, f)
	a, b, c := row(gossip.KindRecord, 1, 1), row(gossip.KindRecord, 1, 2), row(gossip.KindLeft, 2, 0)
	if err := s.PutSync(a, c); err != nil {
		t.Fatal(err)
	}
	s.Put(b)
	s.Delete(c.Key)
	if got := load(t, s); !equal(got, []*gossip.Item{b}) {
		t.Errorf("not yet written: got %v, want the newer one only", got)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.PutSync(a); err == nil {
		t.Error("wrote into a closed store")
	}
	again := stored(t, f)
	if got := load(t, again); !equal(got, []*gossip.Item{b}) || again.Report() != (Report{}) {
		t.Errorf("again: got %v, %+v", got, again.Report())
	}
}

// Run writes soon, and the mirror a second later.
func TestRunWrites(t *testing.T) {
	f := opened(t, t.TempDir())
	s := stored(t, f)
	synctest.Test(t, func(t *testing.T) {
		s.wake = make(chan struct{}, 1) // of the bubble
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		s.Put(row(gossip.KindCertificate, 1, 1))
		time.Sleep(100 * time.Millisecond)
		if s.mu.Lock(); len(s.pending) > 0 {
			t.Error("not written after 100 ms")
		}
		s.mu.Unlock()
		time.Sleep(2 * time.Second)
		if b, err := f.read(mirrorFile); err != nil {
			t.Error(err)
		} else if items, err := decodeMirror(b); err != nil || len(items) != 1 {
			t.Errorf("mirror: got %v, %v", items, err)
		}
		s.Put(row(gossip.KindRecord, 1, 1))
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if b, err := f.read(mirrorFile); err != nil {
		t.Error(err)
	} else if items, err := decodeMirror(b); err != nil || len(items) != 2 {
		t.Errorf("mirror at the end: got %v, %v", items, err)
	}
}

// pageAt returns a page of a database, and the first page with flags if id is 0.
func pageAt(b []byte, id int, flags byte) []byte {
	size := os.Getpagesize()
	for i := 2; id == 0; i++ {
		if b[i*size+8] == flags && b[i*size+9] == 0 {
			id = i
		}
	}
	return b[id*size : (id+1)*size]
}

// reseal makes the checksums of both meta pages right.
func reseal(b []byte) []byte {
	for i := range 2 {
		m := b[i*os.Getpagesize()+16:]
		sum := fnv.New64a()
		_, _ = sum.Write(m[:56])
		binary.NativeEndian.PutUint64(m[56:], sum.Sum64())
	}
	return b
}

// flipped changes a bit of an item.
func flipped(b []byte, it *gossip.Item) []byte {
	bad := slices.Clone(it.Body)
	bad[9] ^= 4
	return bytes.ReplaceAll(b, it.Body, bad)
}

// Whatever became of store.db, the agent starts, knows all members, and keeps the damaged file.
func TestDamagedStore(t *testing.T) {
	items := rows(300)
	all := func(b []byte, v byte) []byte {
		for i := range b {
			b[i] = v
		}
		return b
	}
	metas := func(b []byte, at int, v uint64) []byte {
		for i := range 2 {
			binary.NativeEndian.PutUint64(b[i*os.Getpagesize()+16+at:], v)
		}
		return reseal(b)
	}
	for name, harm := range map[string]func(b []byte) []byte{
		"zero length":              func([]byte) []byte { return nil },
		"one byte":                 func(b []byte) []byte { return b[:1] },
		"a page":                   func(b []byte) []byte { return b[:4096] },
		"three pages":              func(b []byte) []byte { return b[:3*4096] },
		"half":                     func(b []byte) []byte { return b[:len(b)/2] },
		"zeros":                    func(b []byte) []byte { return all(b, 0) },
		"ones":                     func(b []byte) []byte { return all(b, 0xff) },
		"text":                     func([]byte) []byte { return []byte(strings.Repeat("not a database\n", 2000)) },
		"zeroed middle":            func(b []byte) []byte { all(b[len(b)/4:len(b)/2], 0); return b },
		"a flipped bit in an item": func(b []byte) []byte { return flipped(b, items[5]) },
		"a page that is its own child": func(b []byte) []byte {
			branch := pageAt(b, 0, branchPage)
			copy(branch[24:], branch[:8])
			return b
		},
		"keys out of order": func(b []byte) []byte {
			leaf := pageAt(b, 0, leafPage)
			copy(leaf[headSize:], slices.Concat(leaf[2*headSize:3*headSize], leaf[headSize:2*headSize]))
			return b
		},
		"a row beyond its page": func(b []byte) []byte {
			binary.NativeEndian.PutUint32(pageAt(b, 0, leafPage)[headSize+12:], 1<<31)
			return b
		},
		"a huge list of free pages": func(b []byte) []byte {
			free := int(binary.NativeEndian.Uint64(b[os.Getpagesize()+16+32:]))
			for _, page := range [][]byte{pageAt(b, 0, freePage), pageAt(b, free, 0)} {
				copy(page[8:], []byte{freePage, 0, 0xff, 0xff})
				binary.NativeEndian.PutUint64(page[16:], 1<<36)
			}
			return b
		},
		"no list of free pages": func(b []byte) []byte { return metas(b, 32, noFreeList) },
		"a root that is none":   func(b []byte) []byte { return metas(b, 16, 1<<40) },
		"pages of no size":      func(b []byte) []byte { return metas(b, 8, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t, items...)
			path := filepath.Join(dir, storeFile)
			if err := os.WriteFile(path, harm(must(os.ReadFile(path))), 0o600); err != nil {
				t.Fatal(err)
			}
			checkRepair(t, dir, items, name != "zero length")
		})
	}
	for name, harm := range map[string]func(path string) error{
		"missing":     func(string) error { return nil },
		"a folder":    func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Mkdir(path+"/x", 0o700)) },
		"a pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a link away": func(path string) error { return os.Symlink("/etc/passwd", path) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t, items...)
			path := filepath.Join(dir, storeFile)
			if err := errors.Join(os.Remove(path), harm(path)); err != nil {
				t.Fatal(err)
			}
			checkRepair(t, dir, items, name != "missing")
		})
	}
}

// checkRepair opens a folder with a damaged store twice, then wipes it.
func checkRepair(t *testing.T, dir string, items []*gossip.Item, aside bool) {
	t.Helper()
	f := opened(t, dir)
	s := stored(t, f)
	if got := load(t, s); !equal(got, items) {
		t.Errorf("got %d items, want %d: %+v", len(got), len(items), s.Report())
	}
	r := s.Report()
	if _, err := os.Lstat(filepath.Join(dir, r.Aside)); aside != strings.HasPrefix(r.Aside, asidePrefix) || err != nil ||
		r.Restored == 0 || r.Cause == "" {
		t.Errorf("report: got %+v, %v", r, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := stored(t, f)
	if got := load(t, again); !equal(got, items) || again.Report() != (Report{}) {
		t.Errorf("second time: got %d items, want %d: %+v", len(got), len(items), again.Report())
	}
	if err := errors.Join(again.Close(), f.Wipe()); err != nil {
		t.Fatal(err)
	}
	if names, want := must(f.names()), []string{lockFile, versionFile}; !slices.Equal(names, want) {
		t.Errorf("after Wipe: got %v, want %v", names, want)
	}
}

// Without a mirror what can still be read is rescued.
func TestRescueWithoutMirror(t *testing.T) {
	items := rows(300)
	dir := filled(t, items...)
	path := filepath.Join(dir, storeFile)
	b := flipped(must(os.ReadFile(path)), items[5])
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.Remove(filepath.Join(dir, mirrorFile))); err != nil {
		t.Fatal(err)
	}
	s := stored(t, opened(t, dir))
	if got := load(t, s); len(got) != len(items)-1 || s.Report().Aside == "" {
		t.Errorf("rescued %d of %d items, %+v", len(got), len(items), s.Report())
	}
}

// Damage that appears while the store is open is repaired at the next write or look.
func TestDamageWhileOpen(t *testing.T) {
	items := rows(300)
	for name, touch := range map[string]func(s *Store) error{
		"write": func(s *Store) error { return s.PutSync(row(gossip.KindLeft, 1000, 0)) },
		"load":  func(s *Store) error { s.Put(row(gossip.KindLeft, 1000, 0)); _, err := s.Load(); return err },
	} {
		for _, cut := range []bool{false, true} {
			t.Run(fmt.Sprint(name, cut), func(t *testing.T) {
				dir := filled(t, items...)
				f := opened(t, dir)
				s := stored(t, f)
				file := must(os.OpenFile(filepath.Join(dir, storeFile), os.O_RDWR, 0))
				defer file.Close()
				size := must(file.Stat()).Size()
				if cut { // pages are then faults of memory
					if err := file.Truncate(3 * 4096); err != nil {
						t.Fatal(err)
					}
				} else if _, err := file.WriteAt(make([]byte, size-8192), 8192); err != nil {
					t.Fatal(err)
				}
				if err := touch(s); err != nil {
					t.Fatal(err)
				}
				if got := load(t, s); len(got) != len(items)+1 || s.Report().Aside == "" {
					t.Errorf("got %d items, want %d: %+v", len(got), len(items)+1, s.Report())
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if got := load(t, stored(t, f)); len(got) != len(items)+1 {
					t.Errorf("again: got %d items, want %d", len(got), len(items)+1)
				}
			})
		}
	}
}

// What a member left behind does not come back out of the mirror.
func TestMirrorDoesNotRaiseTheDead(t *testing.T) {
	dir := filled(t, row(gossip.KindRecord, 1, 1), row(gossip.KindRecord, 2, 1))
	f := opened(t, dir)
	old := must(f.read(mirrorFile))
	s := stored(t, f)
	left := row(gossip.KindLeft, 1, 0)
	s.Delete(row(gossip.KindRecord, 1, 0).Key)
	if err := errors.Join(s.PutSync(left), s.Close(), f.write(mirrorFile, old)); err != nil {
		t.Fatal(err)
	}
	if got := load(t, stored(t, f)); !equal(got, []*gossip.Item{left, row(gossip.KindRecord, 2, 1)}) {
		t.Errorf("got %d items, want the last word of one and the record of the other", len(got))
	}
}

// A full disk loses nothing that was there, and what is new is written when there is room again.
func TestFullDisk(t *testing.T) {
	dir := filled(t, rows(50)...)
	f := opened(t, dir)
	f.maxStore = 128 << 10
	s := stored(t, f)
	var err error
	n := 50
	for ; err == nil && n < 2000; n++ {
		err = s.PutSync(row(gossip.KindRecord, n, 1))
	}
	if err == nil {
		t.Fatal("no error of the full disk")
	}
	s.Put(row(gossip.KindRecord, n, 1))
	if got := load(t, s); len(got) != 50+n {
		t.Errorf("after %v: got %d items, want %d", err, len(got), 50+n)
	}
	if aside := s.Report().Aside; aside != "" {
		t.Errorf("a full disk is no damage: %+v", s.Report())
	}
	_ = s.Close()
	f.maxStore = 0
	if got := load(t, stored(t, f)); len(got) < 50+n-1 {
		t.Errorf("again: got %d items, want %d", len(got), 50+n-1)
	}
}

// TestReceiptThatFailed: a use of an invite that its joiner was told had failed is none when there is room again.
func TestReceiptThatFailed(t *testing.T) {
	f := opened(t, filled(t, rows(50)...))
	f.maxStore = 128 << 10
	s := stored(t, f)
	var err error
	var receipts []*gossip.Item
	for err == nil && len(receipts) < 2000 {
		receipts = append(receipts, row(gossip.KindReceipt, len(receipts), 0))
		err = s.PutSync(receipts[len(receipts)-1])
	}
	if err == nil {
		t.Fatal("no error of the full disk")
	}
	failed := receipts[len(receipts)-1]
	s.db.MaxSize = 0 // there is room again
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(load(t, s), func(it *gossip.Item) bool { return it.Key == failed.Key }) {
		t.Error("the receipt is there")
	}
	if err := s.PutSync(failed); err != nil {
		t.Error(err)
	}
	if !slices.ContainsFunc(load(t, s), func(it *gossip.Item) bool { return it.Key == failed.Key }) {
		t.Error("the receipt of the next attempt is not there")
	}
}

// The same on a file system that is really full.
func TestFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k,mode=700"); err != nil {
		t.Skipf("mounting a small file system: %v (needs CAP_SYS_ADMIN)", err)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	f := must(open(dir, noGroup))
	s := must(f.OpenStore(quiet()))
	defer func() { _ = errors.Join(s.Close(), f.Close()) }()
	if err := f.WriteFile(SettingsFile, []byte("old")); err != nil {
		t.Fatal(err)
	}
	acked := 0
	var err error
	for err == nil && acked < 5000 {
		if err = s.PutSync(row(gossip.KindRecord, acked, 1)); err == nil {
			acked++
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v, want no space", err)
	}
	if err := f.WriteFile(SettingsFile, make([]byte, 1<<20)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("WriteFile: got %v, want no space", err)
	}
	if b, err := f.ReadFile(SettingsFile); string(b) != "old" {
		t.Errorf("settings: got %q, %v", b, err)
	}
	_ = s.Close() // cannot write the mirror
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = must(open(dir, noGroup)) // the agent starts on a full disk
	s = must(f.OpenStore(quiet()))
	if got := load(t, s); len(got) < acked || s.Report().Aside != "" {
		t.Errorf("again: got %d items, want at least %d: %+v", len(got), acked, s.Report())
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=8m,mode=700"); err != nil {
		t.Fatal(err)
	}
	if err := s.PutSync(row(gossip.KindLeft, 1, 0)); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// A copy of the folder works elsewhere, with whatever modes the copy has.
func TestRestoredElsewhere(t *testing.T) {
	items := rows(20)
	dir := filled(t, items...)
	put(t, dir, IdentityFile, "key", 0o600)
	elsewhere := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(elsewhere, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := open(elsewhere, noGroup); !errors.Is(err, ErrOpenToOthers) {
		t.Errorf("a careless copy: got %v, want %v", err, ErrOpenToOthers)
	}
	if err := os.Chmod(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	f := opened(t, elsewhere)
	if b, err := f.ReadFile(IdentityFile); string(b) != "key" || mode(t, filepath.Join(elsewhere, IdentityFile)) != 0o600 {
		t.Errorf("key: got %q, %v", b, err)
	}
	if got := load(t, stored(t, f)); !equal(got, items) {
		t.Errorf("got %d items, want %d", len(got), len(items))
	}
}

// A folder that another user prepared is not taken over: its owner may hold the files open.
func TestPlantedFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder to another user")
	}
	for name, want := range map[string]error{storeFile: ErrForeign, lockFile: ErrForeign, configFile: nil} {
		dir := t.TempDir()
		put(t, dir, name, "", 0o600)
		if err := os.Chown(dir, 4321, 4321); err != nil {
			t.Fatal(err)
		}
		f, err := open(dir, noGroup)
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("with %s: got %v, want %v", name, err, want)
		}
		if err == nil {
			_ = f.Close()
		}
	}
}

// FuzzOpenStore overwrites parts of a database: it opens, without a crash, and with nothing that was not there.
func FuzzOpenStore(f *testing.F) {
	items := rows(60)
	dir := filled(f, items...)
	good := must(os.ReadFile(filepath.Join(dir, storeFile)))
	f.Add([]byte{0, 0, 1, 9, 9}, true)
	f.Add([]byte{0x20, 0x10, 8, 1, 0, 0, 0, 0x30, 0x18, 1, 1}, false)
	known := map[gossip.Key]*gossip.Item{}
	for _, it := range items {
		known[it.Key] = it
	}
	f.Fuzz(func(t *testing.T, patches []byte, sealed bool) {
		dir := t.TempDir()
		b := slices.Clone(good)
		for len(patches) > 3 { // where (of the file, coarsely and finely), how many bytes, the bytes
			at, n := int(binary.BigEndian.Uint16(patches))*4%len(b), min(int(patches[2])%16, len(patches)-3)
			copy(b[at:], patches[3:3+n])
			patches = patches[3+n:]
		}
		if sealed {
			reseal(b)
		}
		put(t, dir, storeFile, string(b), 0o600)
		folder := must(open(dir, noGroup))
		defer func() { _ = folder.Close() }()
		s, err := folder.OpenStore(quiet())
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range load(t, s) {
			if want := known[it.Key]; want == nil || want.Seq != it.Seq || string(want.Body) != string(it.Body) {
				t.Errorf("an item from nowhere: %+v", it)
			}
		}
		extra := row(gossip.KindLeft, 5000, 0)
		if err := errors.Join(s.PutSync(extra), s.Close()); err != nil {
			t.Error(err)
		}
		if s, err = folder.OpenStore(quiet()); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(load(t, s), func(it *gossip.Item) bool { return it.Key == extra.Key }) {
			t.Error("an item written after the repair is gone")
		}
		_ = s.Close()
	})
}
