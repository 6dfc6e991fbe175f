package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// disk is what durable writing needs of the file system; tests let it fail at any step.
type disk interface {
	// create makes a file that does not exist, mode 0600.
	create(name string) (diskFile, error)
	rename(from, to string) error
	// remove removes whatever has that name, and is no error where nothing has.
	remove(name string) error
	// sync makes the names in the folder durable.
	sync() error
}

type diskFile interface {
	io.WriteCloser
	Sync() error
}

// osDisk is the disk of the operating system.
type osDisk struct{ root *os.Root }

func (d osDisk) create(name string) (diskFile, error) {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil { // whatever the umask is
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d osDisk) rename(from, to string) error { return d.root.Rename(from, to) }

func (d osDisk) remove(name string) error { return d.root.RemoveAll(name) }

func (d osDisk) sync() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// WriteFile replaces a file, mode 0600, durably: when it returns nil the content survives a crash, and after an error
// or a crash there is the old content or the new one, never a part.
func (f *Folder) WriteFile(name string, data []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	return f.write(name, data)
}

func (f *Folder) write(name string, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.replace(name, data); err != nil {
		return fmt.Errorf("state: writing %s: %w", name, err)
	}
	return nil
}

func (f *Folder) replace(name string, data []byte) error {
	temp := tempPrefix + name
	if err := f.disk.remove(temp); err != nil {
		return err
	}
	file, err := f.disk.create(temp)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = f.disk.rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, f.disk.remove(temp))
	}
	return f.disk.sync()
}

// Remove removes a file durably. It is no error if there is none.
func (f *Folder) Remove(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(f.disk.remove(name), f.disk.sync()); err != nil {
		return fmt.Errorf("state: removing %s: %w", name, err)
	}
	return nil
}

// Wipe forgets the membership: certificate, keys, log and store are deleted; settings, configuration, version and lock
// stay. The Store must be closed. A Wipe that was interrupted is finished by the next Open.
func (f *Folder) Wipe() error {
	if err := f.write(wipeMark, nil); err != nil {
		return err
	}
	names, err := f.names()
	if err != nil {
		return fmt.Errorf("state: wiping: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known := []string{CertificateFile, AuthorityFile, storeFile, mirrorFile}
	for _, name := range names {
		if isKey(name) || slices.Contains(known, name) || strings.HasPrefix(name, asidePrefix) {
			err = errors.Join(err, f.disk.remove(name))
		}
	}
	// The mark goes last, and only when the rest is gone for good.
	if err = errors.Join(err, f.disk.sync()); err == nil {
		err = errors.Join(f.disk.remove(wipeMark), f.disk.sync())
	}
	if err != nil {
		return fmt.Errorf("state: wiping: %w", err)
	}
	return nil
}
