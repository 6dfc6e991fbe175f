// Package vault keeps what makes a host a member: its keys, its certificate and the network's log, as files of the
// state folder. It knows their formats and their order of writing, and decides nothing.
package vault

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"

	"warren/keys"
	"warren/keys/canon"
)

// Member is what a host holds to be a member of its network. Root and CA are nil but on hosts that hold a root key, or
// sign.
type Member struct {
	Identity *keys.Identity
	WG       keys.WGPrivate
	Root     *keys.Root
	CA       *keys.CA
	Own      *keys.Certificate
}

// The files, under the names by which package state knows what is a key and what belongs to a membership.
const (
	identityFile    = "identity.pem"
	wireGuardFile   = "wireguard.pem"
	rootFile        = "root.pem"
	signerFile      = "signer.pem"
	certificateFile = "certificate.pem"
	authorityFile   = "authority.cbor"
)

// Folder is what the package needs of a *state.Folder.
type Folder interface {
	// ReadFile returns an error that wraps fs.ErrNotExist if there is no such file.
	ReadFile(name string) ([]byte, error)
	// WriteFile replaces a file durably: there is the old content or the new one, never a part.
	WriteFile(name string, data []byte) error
	// Remove is no error if there is no such file.
	Remove(name string) error
}

// Vault reads and writes the files that make a membership.
type Vault struct{ Folder }

// maxLogFile bounds the authority log on disk: as many entries of as many bytes as there can be.
const maxLogFile = keys.MaxEntries*(keys.MaxEntry+8) + 8

// Load reads keys, certificate and log; fs.ErrNotExist if there is no certificate, and no other error is that one. The
// log is also in the store, but must not be lost with it.
func (v Vault) Load() (*Member, *keys.Authority, error) {
	own, err := v.certificate()
	if err != nil {
		return nil, nil, err
	}
	m, authority, err := v.rest(own)
	if err != nil {
		// Without a file there is a membership that cannot be read, not none.
		return nil, nil, errors.New("vault: reading the membership: " + err.Error())
	}
	return m, authority, nil
}

func (v Vault) certificate() (*keys.Certificate, error) {
	text, err := v.ReadFile(certificateFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemCertificate {
		return nil, fmt.Errorf("vault: %s is no certificate in PEM", certificateFile)
	}
	c, err := keys.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("vault: %s: %w", certificateFile, err)
	}
	return c, nil
}

const pemCertificate = "CERTIFICATE"

// rest reads what belongs to a certificate.
func (v Vault) rest(own *keys.Certificate) (*Member, *keys.Authority, error) {
	m := &Member{Own: own}
	authority, err := v.log()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", authorityFile, err)
	}
	if m.Identity, err = read(v, identityFile, keys.ParseIdentityPEM); err != nil {
		return nil, nil, err
	}
	if m.WG, err = read(v, wireGuardFile, keys.ParseWGPrivatePEM); err != nil {
		return nil, nil, err
	}
	for file, fits := range map[string]bool{
		identityFile: own.Node == m.Identity.ID(), wireGuardFile: own.WG == m.WG.Public(),
		authorityFile: own.Network == authority.Network,
	} {
		if !fits {
			return nil, nil, fmt.Errorf("%s and %s do not belong together", certificateFile, file)
		}
	}
	if m.Root, err = read(v, rootFile, keys.ParseRootPEM); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if m.CA, err = read(v, signerFile, keys.ParseCAPEM); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if m.CA != nil && (m.CA.Node() != own.Node || m.CA.Signer().Network != own.Network) {
		return nil, nil, fmt.Errorf("%s and %s do not belong together", certificateFile, signerFile)
	}
	return m, authority, nil
}

// read reads and parses one file; the zero value if that fails.
func read[T any](v Vault, name string, parse func([]byte) (T, error)) (T, error) {
	var none T
	text, err := v.ReadFile(name)
	if err != nil {
		return none, err
	}
	value, err := parse(text)
	if err != nil {
		return none, fmt.Errorf("%s: %w", name, err)
	}
	return value, nil
}

// MakeKeys returns a membership with the host's keys, which are made and written where there are none: a join that is
// repeated after a crash must come from the same host. What a founding that was cut off has left is removed. A host that
// is a member is an error, and so are keys that cannot be read: they are never replaced.
func (v Vault) MakeKeys() (*Member, error) {
	switch _, err := v.ReadFile(certificateFile); {
	case err == nil:
		return nil, errors.New("vault: making keys: this host is a member")
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	for _, name := range []string{rootFile, signerFile} {
		if err := v.Remove(name); err != nil {
			return nil, err
		}
	}
	m := new(Member)
	var err error
	if m.WG, err = obtain(v, wireGuardFile, keys.ParseWGPrivatePEM, keys.NewWGPrivate); err != nil {
		return nil, fmt.Errorf("vault: making keys: %w", err)
	}
	if m.Identity, err = obtain(v, identityFile, keys.ParseIdentityPEM, keys.NewIdentity); err != nil {
		return nil, fmt.Errorf("vault: making keys: %w", err)
	}
	return m, nil
}

// obtain reads a key, or makes and writes it.
func obtain[K pemKey](v Vault, name string, parse func([]byte) (K, error), fresh func() (K, error)) (K, error) {
	key, err := read(v, name, parse)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = fresh(); err != nil {
		return key, err
	}
	return key, v.write(name, key)
}

type pemKey interface{ MarshalPEM() ([]byte, error) }

func (v Vault) write(name string, key pemKey) error {
	text, err := key.MarshalPEM()
	if err != nil {
		return err
	}
	return v.WriteFile(name, text)
}

func (v Vault) log() (*keys.Authority, error) {
	b, err := v.ReadFile(authorityFile)
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	if err := canon.Unmarshal(b, maxLogFile, &entries); err != nil {
		return nil, err
	}
	return keys.Replay(entries)
}

// WriteLog replaces the authority log on disk.
func (v Vault) WriteLog(a *keys.Authority) error {
	b, err := canon.Marshal(a.Entries)
	if err != nil {
		return err
	}
	return v.WriteFile(authorityFile, b)
}

// Establish writes a new membership to disk, the certificate last: with it the host is a member.
func (v Vault) Establish(own *keys.Certificate, authority *keys.Authority) error {
	if err := v.WriteLog(authority); err != nil {
		return err
	}
	return v.WriteFile(certificateFile, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: own.DER}))
}
