// Package vault keeps what makes a host a member: its keys, its certificate and the network's log, as files of the
// state folder. It knows their formats and their order of writing, and decides nothing.
package vault

import (
	"encoding/pem"
	"fmt"

	"warren/keys"
	"warren/keys/canon"
	"warren/mesh/state"
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

// Vault reads and writes the files that make a membership.
type Vault struct{ *state.Folder }

// maxLogFile bounds the authority log on disk.
const maxLogFile = 16 << 20

// Load reads keys, certificate and log; fs.ErrNotExist if there is no certificate. The log is also in the store, but
// must not be lost with it.
func (v Vault) Load() (*Member, *keys.Authority, error) {
	certPEM, err := v.ReadFile(state.CertificateFile)
	if err != nil {
		return nil, nil, err
	}
	entries, err := v.log()
	if err != nil {
		return nil, nil, broken(err)
	}
	authority, err := keys.Replay(entries)
	if err != nil {
		return nil, nil, err
	}
	m, err := v.keys()
	if err != nil {
		return nil, nil, broken(err)
	}
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, nil, fmt.Errorf("vault: %s is not PEM", state.CertificateFile)
	}
	if m.Own, err = keys.ParseCertificate(block.Bytes); err != nil {
		return nil, nil, err
	}
	if m.Own.Node != m.Identity.ID() || m.Own.WG != m.WG.Public() || m.Own.Network != authority.Network {
		return nil, nil, fmt.Errorf("vault: certificate, keys and log do not belong together")
	}
	return m, authority, v.signer(m)
}

// broken hides that a file is missing: without it there is a membership that cannot be read, not none.
func broken(err error) error { return fmt.Errorf("vault: reading the membership: %v", err) }

// signer adds the keys that only some members have.
func (v Vault) signer(m *Member) error {
	if text, err := v.ReadFile(state.RootFile); err == nil {
		if m.Root, err = keys.ParseRootPEM(text); err != nil {
			return err
		}
	}
	if text, err := v.ReadFile(state.SignerFile); err == nil {
		if m.CA, err = keys.ParseCAPEM(text); err != nil {
			return err
		}
	}
	return nil
}

// keys returns a membership with the host's own two keys.
func (v Vault) keys() (*Member, error) {
	m := new(Member)
	text, err := v.ReadFile(state.IdentityFile)
	if err != nil {
		return nil, err
	}
	if m.Identity, err = keys.ParseIdentityPEM(text); err != nil {
		return nil, err
	}
	if text, err = v.ReadFile(state.WireGuardFile); err != nil {
		return nil, err
	}
	if m.WG, err = keys.ParseWGPrivatePEM(text); err != nil {
		return nil, err
	}
	return m, nil
}

// MakeKeys returns a membership with the host's keys, made and written if there are none: a join that is repeated after
// a crash must come from the same host.
func (v Vault) MakeKeys() (*Member, error) {
	if m, err := v.keys(); err == nil {
		return m, nil
	}
	m := new(Member)
	var err error
	if m.Identity, err = keys.NewIdentity(); err != nil {
		return nil, err
	}
	if m.WG, err = keys.NewWGPrivate(); err != nil {
		return nil, err
	}
	if err := v.write(state.WireGuardFile, m.WG); err != nil {
		return nil, err
	}
	return m, v.write(state.IdentityFile, m.Identity)
}

func (v Vault) write(name string, key interface{ MarshalPEM() ([]byte, error) }) error {
	text, err := key.MarshalPEM()
	if err != nil {
		return err
	}
	return v.WriteFile(name, text)
}

func (v Vault) log() (entries [][]byte, err error) {
	b, err := v.ReadFile(state.AuthorityFile)
	if err != nil {
		return nil, err
	}
	return entries, canon.Unmarshal(b, maxLogFile, &entries)
}

// WriteLog replaces the authority log on disk.
func (v Vault) WriteLog(a *keys.Authority) error {
	b, err := canon.Marshal(a.Entries)
	if err != nil {
		return err
	}
	return v.WriteFile(state.AuthorityFile, b)
}

// Establish writes a new membership to disk, the certificate last: with it the host is a member.
func (v Vault) Establish(own *keys.Certificate, authority *keys.Authority) error {
	if err := v.WriteLog(authority); err != nil {
		return err
	}
	return v.WriteFile(state.CertificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.DER}))
}
