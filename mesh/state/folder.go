package state

import "errors"

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

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Folder is an open, locked state folder. Its methods are safe for concurrent use.
type Folder struct{}

// Open opens the folder, making it and its parents if they do not exist, takes its lock, and finishes what a killed
// agent left: temporary files, an interrupted Wipe. While the folder holds no keys it is tightened to 0700 (0710 with
// the group `warren`, if that exists). Errors wrap ErrOpenToOthers, ErrLocked, ErrNewer or ErrForeign, and are of
// type *Error where a remedy is known.
func Open(dir string) (*Folder, error) { return nil, errors.ErrUnsupported }

// Close releases the lock. Close the Store first.
func (f *Folder) Close() error { return nil }

// Dir returns the folder's name, absolute, symbolic links resolved.
func (f *Folder) Dir() string { return "" }

// ReadFile returns the content of a file in the folder. The error wraps fs.ErrNotExist if there is none.
func (f *Folder) ReadFile(name string) ([]byte, error) { return nil, errors.ErrUnsupported }

// WriteFile replaces a file, mode 0600, durably: when it returns nil the content survives a crash, and after an error
// or a crash there is the old content or the new one, never a part.
func (f *Folder) WriteFile(name string, data []byte) error { return errors.ErrUnsupported }

// Remove removes a file durably. It is no error if there is none.
func (f *Folder) Remove(name string) error { return errors.ErrUnsupported }

// Wipe forgets the membership: certificate, keys, log and store are deleted; settings, configuration, version and lock
// stay. The Store must be closed. A Wipe that was interrupted is finished by the next Open.
func (f *Folder) Wipe() error { return errors.ErrUnsupported }
