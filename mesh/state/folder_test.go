package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func noGroup() (int, bool) { return 0, false }

// opened opens a folder and closes it at the end of the test.
func opened(t *testing.T, dir string) *Folder {
	t.Helper()
	f, err := open(dir, noGroup)
	if err != nil {
		t.Fatalf("open(%s): %v", dir, err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func put(t *testing.T, dir, name, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
		t.Fatal(err)
	}
}

func TestOpenMakesTheFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	defer syscall.Umask(syscall.Umask(0o277))
	f := opened(t, dir)
	if err := f.WriteFile(IdentityFile, []byte("key")); err != nil {
		t.Fatal(err)
	}
	if got := mode(t, dir); got != 0o700 {
		t.Errorf("folder: mode %04o, want 0700", got)
	}
	for _, name := range []string{IdentityFile, versionFile} {
		if got := mode(t, filepath.Join(dir, name)); got != 0o600 {
			t.Errorf("%s: mode %04o, want 0600", name, got)
		}
	}
	if b, err := f.ReadFile(IdentityFile); string(b) != "key" || err != nil {
		t.Errorf("ReadFile: got %q, %v", b, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, versionFile)); string(b) != "1\n" || err != nil {
		t.Errorf("version: got %q, %v", b, err)
	}
}

func TestOpenJudgesTheFolder(t *testing.T) {
	tests := []struct {
		name  string
		mode  fs.FileMode
		files map[string]string
		want  error // nil: opened, and then 0700
	}{
		{"empty and open", 0o755, nil, nil},
		{"settings and open", 0o777, map[string]string{SettingsFile: "{}", versionFile: "1\n"}, nil},
		{"only a configuration", 0o755, map[string]string{configFile: ""}, nil},
		{"keys and closed", 0o700, map[string]string{IdentityFile: "k", versionFile: "1\n"}, nil},
		{"keys, from a machine with the group", 0o710, map[string]string{IdentityFile: "k"}, nil},
		{"keys and open to read", 0o750, map[string]string{IdentityFile: "k"}, ErrOpenToOthers},
		{"keys and open to pass", 0o701, map[string]string{RootFile: "k"}, ErrOpenToOthers},
		{"half a key and open", 0o755, map[string]string{tempPrefix + IdentityFile: "k"}, ErrOpenToOthers},
		{"newer", 0o700, map[string]string{versionFile: "2\n"}, ErrNewer},
		{"version of nothing", 0o700, map[string]string{versionFile: "x"}, ErrForeign},
		{"somebody's home", 0o755, map[string]string{".profile": ""}, ErrForeign},
		{"shared", 0o777 | fs.ModeSticky, nil, ErrForeign},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range tt.files {
				put(t, dir, name, content, 0o644)
			}
			if err := os.Chmod(dir, tt.mode); err != nil {
				t.Fatal(err)
			}
			f, err := open(dir, noGroup)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil {
				var hint *Error
				if !errors.As(err, &hint) || hint.Hint == "" {
					t.Errorf("no hint in %v", err)
				}
				if got := mode(t, dir); got != tt.mode.Perm() {
					t.Errorf("a refused folder was changed to %04o", got)
				}
				return
			}
			defer f.Close()
			if got := mode(t, dir); got != 0o700 {
				t.Errorf("mode %04o, want 0700", got)
			}
			for name := range tt.files {
				if want := fs.FileMode(0o600); name != configFile && mode(t, filepath.Join(dir, name)) != want {
					t.Errorf("%s is open to others", name)
				}
			}
		})
	}
}

func TestGroupMayPass(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	gid := os.Getegid() // a group that an ordinary user may give
	if os.Geteuid() == 0 {
		gid = 12345
	}
	f, err := open(dir, func() (int, bool) { return gid, true })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, got := owner(info); info.Mode().Perm() != 0o710 || got != gid {
		t.Errorf("got %04o of group %d, want 0710 of %d", info.Mode().Perm(), got, gid)
	}
}

func TestOneAgentAFolder(t *testing.T) {
	dir := t.TempDir()
	f := opened(t, dir)
	if _, err := open(dir, noGroup); !errors.Is(err, ErrLocked) {
		t.Errorf("second: got %v, want %v", err, ErrLocked)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	opened(t, dir)
}

func TestSymbolicLinks(t *testing.T) {
	real, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	put(t, filepath.Dir(outside), "outside", "secret", 0o600)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Chmod(real, 0o700); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{link: real, filepath.Join(real, IdentityFile): outside} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	f := opened(t, link)
	if f.Dir() != real {
		t.Errorf("Dir: got %s, want %s", f.Dir(), real)
	}
	if b, err := f.ReadFile(IdentityFile); err == nil {
		t.Errorf("read %q through a link", b)
	}
	if err := f.WriteFile(IdentityFile, []byte("mine")); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(outside); string(b) != "secret" {
		t.Errorf("wrote %q through a link", b)
	}
	put(t, real, "plain", "", 0o600)
	if _, err := open(filepath.Join(real, "plain"), noGroup); err == nil {
		t.Error("opened a file as a folder")
	}
}

func TestNames(t *testing.T) {
	f := opened(t, t.TempDir())
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/etc/passwd", lockFile, versionFile, storeFile, ".tmp-x"} {
		if err := f.WriteFile(name, nil); err == nil {
			t.Errorf("wrote %q", name)
		}
		if _, err := f.ReadFile(name); err == nil {
			t.Errorf("read %q", name)
		}
		if err := f.Remove(name); err == nil {
			t.Errorf("removed %q", name)
		}
	}
	if _, err := f.ReadFile(IdentityFile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: got %v, want %v", err, fs.ErrNotExist)
	}
	if err := f.Remove(IdentityFile); err != nil {
		t.Errorf("removing a missing file: %v", err)
	}
}

// failingDisk fails at one step, for good where the machine has crashed.
type failingDisk struct {
	disk
	step    int
	crashed bool
	crash   bool
	steps   int
}

var errDisk = errors.New("no space left")

func (d *failingDisk) fails() bool {
	d.steps++
	if d.steps == d.step {
		d.crashed = d.crash
		return true
	}
	return d.crashed
}

func (d *failingDisk) create(name string) (diskFile, error) {
	if d.fails() {
		return nil, errDisk
	}
	f, err := d.disk.create(name)
	return failingFile{f, d}, err
}

func (d *failingDisk) rename(from, to string) error {
	if d.fails() {
		return errDisk
	}
	return d.disk.rename(from, to)
}

func (d *failingDisk) remove(name string) error {
	if d.fails() {
		return errDisk
	}
	return d.disk.remove(name)
}

func (d *failingDisk) sync() error {
	if d.fails() {
		return errDisk
	}
	return d.disk.sync()
}

type failingFile struct {
	diskFile
	d *failingDisk
}

func (f failingFile) Write(b []byte) (int, error) {
	if f.d.fails() {
		n, _ := f.diskFile.Write(b[:len(b)/2])
		return n, errDisk
	}
	return f.diskFile.Write(b)
}

func (f failingFile) Sync() error {
	if f.d.fails() {
		return errDisk
	}
	return f.diskFile.Sync()
}

// Whatever step of a write fails, and whether the process goes on or dies there, a file is old or new and whole.
func TestWriteFailsAtEveryStep(t *testing.T) {
	before, after := strings.Repeat("old", 1000), strings.Repeat("new!", 1000)
	for _, crash := range []bool{false, true} {
		for step := 1; ; step++ {
			dir := t.TempDir()
			f := opened(t, dir)
			if err := f.WriteFile(SettingsFile, []byte(before)); err != nil {
				t.Fatal(err)
			}
			d := &failingDisk{disk: f.disk, step: step, crash: crash}
			f.disk = d
			err := f.WriteFile(SettingsFile, []byte(after))
			if d.steps < step {
				if err != nil {
					t.Errorf("without a failure: %v", err)
				}
				break
			}
			if err == nil {
				t.Errorf("step %d, crash %v: no error", step, crash)
			}
			_ = f.Close()
			again := opened(t, dir)
			if b, err := again.ReadFile(SettingsFile); err != nil || string(b) != before && string(b) != after {
				t.Errorf("step %d, crash %v: %d bytes, %v", step, crash, len(b), err)
			}
			if names, _ := again.names(); slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, tempPrefix) }) {
				t.Errorf("step %d, crash %v: left %v", step, crash, names)
			}
		}
	}
}

// A Wipe that was interrupted anywhere is finished by the next Open, once it has begun.
func TestWipeFailsAtEveryStep(t *testing.T) {
	for step := 0; ; step++ {
		dir := t.TempDir()
		f := opened(t, dir)
		for _, name := range []string{IdentityFile, RootFile, CertificateFile, AuthorityFile, SettingsFile} {
			if err := f.WriteFile(name, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		put(t, dir, "notes.txt", "mine", 0o600)
		put(t, dir, storeFile, "x", 0o600)
		d := &failingDisk{disk: f.disk, step: step, crash: true}
		f.disk = d
		err := f.Wipe()
		left := must(f.names()) // the mark is the first to come and the last to go
		began := slices.Contains(left, wipeMark) || !slices.Contains(left, IdentityFile)
		if err == nil != (d.steps < step || step == 0) {
			t.Errorf("step %d: %v", step, err)
		}
		_ = f.Close()
		again := opened(t, dir)
		want := []string{lockFile, "notes.txt", SettingsFile, versionFile}
		if names := must(again.names()); began && !slices.Equal(names, want) {
			t.Errorf("step %d: left %v, want %v", step, names, want)
		} else if !began && len(names) != 9 {
			t.Errorf("step %d: %v of a wipe that did not begin", step, names)
		}
		if step > 0 && d.steps < step {
			return
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
