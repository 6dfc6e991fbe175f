package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Names of the files that the agent reads and writes with ReadFile and WriteFile.
const (
	IdentityFile    = "identity.pem"
	WireGuardFile   = "wireguard.pem"
	RootFile        = "root.pem"
	SignerFile      = "signer.pem"
	CertificateFile = "certificate.pem"
	AuthorityFile   = "authority.cbor"
	SettingsFile    = "settings.json"
)

// Names of the files that the package itself needs, and of those that others put into the folder.
const (
	versionFile = "version"
	lockFile    = "lock"
	wipeMark    = "wiping"
	storeFile   = "store.db"
	mirrorFile  = "roster.cbor"
	configFile  = "warren.toml"
	socketFile  = "warren.sock"
	asidePrefix = storeFile + ".corrupt-"
	tempPrefix  = ".tmp-"
)

// maxFile bounds what ReadFile reads.
const maxFile = 64 << 20

var (
	// ErrOpenToOthers is wrapped when the folder holds keys and other users could read them.
	ErrOpenToOthers = errors.New("the folder holds keys and is open to others")
	// ErrLocked is wrapped when another agent uses the folder.
	ErrLocked = errors.New("another agent uses this folder")
	// ErrNewer is wrapped when a newer version of the program wrote the folder.
	ErrNewer = errors.New("the folder was written by a newer version")
	// ErrForeign is wrapped when the folder holds something else than an agent's state.
	ErrForeign = errors.New("not a state folder")
)

// Error is an error of Open with a remedy for people.
type Error struct {
	Err  error
	Hint string // a sentence, perhaps with a command; may be empty
}

// Error returns the text of Err.
func (e *Error) Error() string { return e.Err.Error() }

// Remedy returns Hint.
func (e *Error) Remedy() string { return e.Hint }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Folder is an open, locked state folder. Its methods are safe for concurrent use.
type Folder struct {
	dir  string
	root *os.Root
	lock *os.File
	disk disk
	mu   sync.Mutex // held while files change

	maxStore int // bytes of store.db; 0: no limit. Set by tests, in place of a full disk
}

// Open opens the folder, making it and its parents if they do not exist, takes its lock, and finishes what a killed
// agent left: temporary files, an interrupted Wipe. While the folder holds no keys it is tightened to 0700 (0710 with
// the group `warren`, if that exists). Errors wrap ErrOpenToOthers, ErrLocked, ErrNewer or ErrForeign, and are of
// type *Error where a remedy is known.
func Open(dir string) (*Folder, error) { return open(dir, lookupGroup) }

// open is Open with the group that may pass; group reports false where there is none.
func open(dir string, group func() (gid int, ok bool)) (*Folder, error) {
	path, err := makeDir(dir)
	if err != nil {
		return nil, fmt.Errorf("state: making %s: %w", dir, err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("state: opening %s: %w", path, err)
	}
	f := &Folder{dir: path, root: root, disk: osDisk{root}}
	if err := f.prepare(group); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// makeDir makes a folder that does not exist, and returns its absolute name without symbolic links.
func makeDir(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	switch err := os.Mkdir(path, 0o700); {
	case err == nil:
		if err := os.Chmod(path, 0o700); err != nil { // whatever the umask is
			return "", err
		}
		return filepath.EvalSymlinks(path)
	case !errors.Is(err, fs.ErrExist):
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// prepare checks and locks the folder before it changes anything in it.
func (f *Folder) prepare(group func() (int, bool)) error {
	names, err := f.names()
	if err != nil {
		return fmt.Errorf("state: reading %s: %w", f.dir, err)
	}
	if err := f.checkAccess(names); err != nil {
		return err
	}
	if err := f.checkVersion(names); err != nil {
		return err
	}
	if err := f.takeLock(); err != nil {
		return err
	}
	if err := f.tighten(group); err != nil {
		return fmt.Errorf("state: tightening %s: %w", f.dir, err)
	}
	return f.recover()
}

// recover finishes what a killed agent left, under the lock.
func (f *Folder) recover() error {
	names, err := f.names()
	if err != nil {
		return fmt.Errorf("state: reading %s: %w", f.dir, err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, tempPrefix) {
			if err := f.disk.remove(name); err != nil {
				return fmt.Errorf("state: removing %s: %w", name, err)
			}
		} else if err := f.closeFile(name); err != nil {
			return fmt.Errorf("state: closing %s to others: %w", name, err)
		}
	}
	if slices.Contains(names, wipeMark) {
		if err := f.Wipe(); err != nil {
			return err
		}
	}
	if !slices.Contains(names, versionFile) {
		return f.write(versionFile, fmt.Appendln(nil, version))
	}
	return nil
}

// names lists the folder, sorted.
func (f *Folder) names() ([]string, error) {
	d, err := f.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Close releases the lock. Close the Store first.
func (f *Folder) Close() error {
	var err error
	if f.lock != nil {
		err = f.lock.Close() // and with it the lock
	}
	return errors.Join(err, f.root.Close())
}

// Dir returns the folder's name, absolute, symbolic links resolved.
func (f *Folder) Dir() string { return f.dir }

// ReadFile returns the content of a file in the folder. The error wraps fs.ErrNotExist if there is none.
func (f *Folder) ReadFile(name string) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	return f.read(name)
}

func (f *Folder) read(name string) ([]byte, error) {
	info, err := f.root.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("state: reading %s: %w", name, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("state: reading %s: not a plain file of at most %d bytes", name, maxFile)
	}
	file, err := f.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("state: reading %s: %w", name, err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, fmt.Errorf("state: reading %s: %w", name, err)
	}
	return b, nil
}

// checkName refuses names that are no plain file's, or that the package keeps for itself.
func checkName(name string) error {
	own := []string{versionFile, lockFile, wipeMark, storeFile, mirrorFile, configFile, socketFile}
	if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, ".") ||
		slices.Contains(own, name) {
		return fmt.Errorf("state: %q is not a name for a file of the agent", name)
	}
	return nil
}
