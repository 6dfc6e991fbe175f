package mesh

import (
	"encoding/pem"
	"fmt"

	"warren/keys"
	"warren/keys/canon"
	"warren/mesh/state"
)

// vault reads and writes the files that make a membership.
type vault struct{ *state.Folder }

// maxLogFile bounds the authority log on disk.
const maxLogFile = 16 << 20

// member reads keys, certificate and log; fs.ErrNotExist if there is no certificate. The log is also in the store, but
// must not be lost with it.
func (v vault) member() (*membership, *keys.Authority, error) {
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
		return nil, nil, fmt.Errorf("mesh: %s is not PEM", state.CertificateFile)
	}
	if m.own, err = keys.ParseCertificate(block.Bytes); err != nil {
		return nil, nil, err
	}
	if m.own.Node != m.identity.ID() || m.own.WG != m.wg.Public() || m.own.Network != authority.Network {
		return nil, nil, fmt.Errorf("mesh: certificate, keys and log do not belong together")
	}
	return m, authority, v.signer(m)
}

// broken hides that a file is missing: without it there is a membership that cannot be read, not none.
func broken(err error) error { return fmt.Errorf("mesh: reading the membership: %v", err) }

// signer adds the keys that only some members have.
func (v vault) signer(m *membership) error {
	if text, err := v.ReadFile(state.RootFile); err == nil {
		if m.root, err = keys.ParseRootPEM(text); err != nil {
			return err
		}
	}
	if text, err := v.ReadFile(state.SignerFile); err == nil {
		if m.ca, err = keys.ParseCAPEM(text); err != nil {
			return err
		}
	}
	return nil
}

// keys returns a membership with the host's own two keys.
func (v vault) keys() (*membership, error) {
	m := new(membership)
	text, err := v.ReadFile(state.IdentityFile)
	if err != nil {
		return nil, err
	}
	if m.identity, err = keys.ParseIdentityPEM(text); err != nil {
		return nil, err
	}
	if text, err = v.ReadFile(state.WireGuardFile); err != nil {
		return nil, err
	}
	if m.wg, err = keys.ParseWGPrivatePEM(text); err != nil {
		return nil, err
	}
	return m, nil
}

// makeKeys returns a membership with the host's keys, made and written if there are none: a join that is repeated after
// a crash must come from the same host.
func (v vault) makeKeys() (*membership, error) {
	if m, err := v.keys(); err == nil {
		return m, nil
	}
	m := new(membership)
	var err error
	if m.identity, err = keys.NewIdentity(); err != nil {
		return nil, err
	}
	if m.wg, err = keys.NewWGPrivate(); err != nil {
		return nil, err
	}
	if err := v.write(state.WireGuardFile, m.wg); err != nil {
		return nil, err
	}
	return m, v.write(state.IdentityFile, m.identity)
}

func (v vault) write(name string, key interface{ MarshalPEM() ([]byte, error) }) error {
	text, err := key.MarshalPEM()
	if err != nil {
		return err
	}
	return v.WriteFile(name, text)
}

func (v vault) log() (entries [][]byte, err error) {
	b, err := v.ReadFile(state.AuthorityFile)
	if err != nil {
		return nil, err
	}
	return entries, canon.Unmarshal(b, maxLogFile, &entries)
}

func (v vault) writeLog(a *keys.Authority) error {
	b, err := canon.Marshal(a.Entries)
	if err != nil {
		return err
	}
	return v.WriteFile(state.AuthorityFile, b)
}

// establish writes a new membership to disk, the certificate last: with it the host is a member.
func (v vault) establish(own *keys.Certificate, authority *keys.Authority) error {
	if err := v.writeLog(authority); err != nil {
		return err
	}
	return v.WriteFile(state.CertificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.DER}))
}
