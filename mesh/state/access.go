package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// version is the layout of the folder that this program writes.
const version = 1

// lookupGroup returns the system's group `warren`.
func lookupGroup() (gid int, ok bool) {
	g, err := user.LookupGroup("warren")
	if err != nil {
		return 0, false
	}
	gid, err = strconv.Atoi(g.Gid)
	return gid, err == nil
}

// isKey reports whether a file may hold a private key.
func isKey(name string) bool {
	return slices.Contains([]string{IdentityFile, WireGuardFile, RootFile, SignerFile}, name) ||
		strings.HasPrefix(name, tempPrefix)
}

// isOurs reports whether a file belongs into a state folder.
func isOurs(name string) bool {
	known := []string{
		versionFile, lockFile, wipeMark, storeFile, mirrorFile, configFile, socketFile,
		CertificateFile, AuthorityFile, SettingsFile, "lost+found",
	}
	return isKey(name) || slices.Contains(known, name) || strings.HasPrefix(name, asidePrefix)
}

// checkAccess refuses a folder that is open to others while it holds keys, and one that is something else.
func (f *Folder) checkAccess(names []string) error {
	info, err := f.root.Stat(".")
	if err != nil {
		return fmt.Errorf("state: opening %s: %w", f.dir, err)
	}
	uid, _ := owner(info)
	if slices.ContainsFunc(names, isKey) {
		switch {
		case info.Mode().Perm()&0o067 != 0: // 0710 is what we make ourselves
			return &Error{
				fmt.Errorf("state: opening %s: %w (mode %04o)", f.dir, ErrOpenToOthers, info.Mode().Perm()),
				fmt.Sprintf("if nobody has read the keys: chmod 700 %s", f.dir),
			}
		case uid != os.Geteuid():
			return &Error{
				fmt.Errorf("state: opening %s: %w (it belongs to user %d)", f.dir, ErrOpenToOthers, uid),
				fmt.Sprintf("if nobody has read the keys: chown -R %d %s", os.Geteuid(), f.dir),
			}
		}
		return nil
	}
	foreign := slices.IndexFunc(names, func(n string) bool { return !isOurs(n) })
	planted := slices.ContainsFunc(names, func(n string) bool { return isOurs(n) && n != configFile && n != "lost+found" })
	switch {
	case planted && uid != os.Geteuid(): // its owner may hold these files open
		return &Error{
			fmt.Errorf("state: opening %s: %w: it belongs to user %d", f.dir, ErrForeign, uid),
			fmt.Sprintf("choose an empty folder, or if it is yours: chown -R %d %s", os.Geteuid(), f.dir),
		}
	case info.Mode()&fs.ModeSticky != 0 || f.dir == "/":
	case foreign >= 0 && !slices.Contains(names, versionFile):
	default:
		return nil
	}
	what := "it is shared by all users"
	if foreign >= 0 {
		what = "it holds " + strconv.Quote(names[foreign])
	}
	return &Error{
		fmt.Errorf("state: opening %s: %w: %s", f.dir, ErrForeign, what),
		"choose an empty folder, or one that does not exist",
	}
}

// checkVersion refuses a folder of a newer layout.
func (f *Folder) checkVersion(names []string) error {
	if !slices.Contains(names, versionFile) {
		return nil
	}
	b, err := f.read(versionFile)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	switch {
	case err != nil || n < 1:
		return &Error{
			fmt.Errorf("state: opening %s: version file says %.20q: %w", f.dir, b, ErrForeign),
			fmt.Sprintf("a folder of this program says %d there", version),
		}
	case n > version:
		return &Error{
			fmt.Errorf("state: opening %s: %w (layout %d, known is %d)", f.dir, ErrNewer, n, version),
			"install that version again, or choose another folder",
		}
	}
	return nil
}

// takeLock takes the lock, which a process loses when it ends, however that happens.
func (f *Folder) takeLock() error {
	file, err := f.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("state: opening the lock of %s: %w", f.dir, err)
	}
	switch busy, err := lock(file); {
	case busy:
		_ = file.Close()
		return &Error{fmt.Errorf("state: opening %s: %w", f.dir, ErrLocked), "stop that one, or choose another folder by --state"}
	case err != nil:
		_ = file.Close()
		return fmt.Errorf("state: locking %s: %w", f.dir, err)
	}
	f.lock = file
	return nil
}

// tighten closes the folder to others: 0700, or 0710 with the group.
func (f *Folder) tighten(group func() (int, bool)) error {
	d, err := f.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o700)
	uid, gid := owner(info)
	if want, ok := group(); ok {
		if want == gid {
			mode = 0o710
		} else if err := d.Chown(-1, want); err == nil {
			mode = 0o710
		} else if !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	if uid != os.Geteuid() { // without keys, or it would have been refused
		if err := d.Chown(os.Geteuid(), -1); err != nil {
			return err
		}
	}
	if info.Mode().Perm() == mode {
		return nil
	}
	return d.Chmod(mode)
}

// closeFile closes a file of ours to others: copies often come with other modes.
func (f *Folder) closeFile(name string) error {
	if !isOurs(name) || name == configFile || name == socketFile {
		return nil
	}
	info, err := f.root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 == 0 {
		return err
	}
	return f.root.Chmod(name, 0o600)
}
