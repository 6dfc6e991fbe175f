package vault

import (
	"net/netip"
	"time"

	"warren/keys"
)

// Found makes the keys, the log and the certificate of a founder, and writes them down. recovery is the second root
// key, which is written nowhere.
func (v Vault) Found(name, host string, ipRange netip.Prefix, now time.Time) (
	m *Member, authority *keys.Authority, recovery *keys.Root, err error,
) {
	if m, err = v.MakeKeys(); err != nil {
		return nil, nil, nil, err
	}
	if m.Root, err = keys.NewRoot(); err != nil {
		return nil, nil, nil, err
	}
	if recovery, err = keys.NewRoot(); err != nil {
		return nil, nil, nil, err
	}
	genesis, _, err := keys.Found(keys.Founding{Name: name, IPRange: ipRange, Created: now}, m.Root, recovery.Public())
	if err != nil {
		return nil, nil, nil, err
	}
	if authority, err = keys.Replay([][]byte{genesis}); err != nil {
		return nil, nil, nil, err
	}
	if m.CA, err = keys.NewCA(authority.Network, name, authority.Prefixes(), m.Identity.ID(), now); err != nil {
		return nil, nil, nil, err
	}
	entry, err := authority.AddSigner(m.CA.Certificate(), m.Root)
	if err != nil {
		return nil, nil, nil, err
	}
	if authority, err = authority.Append(entry); err != nil {
		return nil, nil, nil, err
	}
	der, err := m.CA.Issue(keys.Profile{
		Node: m.Identity.ID(), Network: authority.Network, Name: host, WG: m.WG.Public(), Since: now,
		Addrs: addresses(authority, m.Identity.ID()), NotBefore: now.Add(-backdate), NotAfter: now.Add(keys.DefaultLifetime),
	}, m.Identity.Public())
	if err != nil {
		return nil, nil, nil, err
	}
	if m.Own, err = keys.ParseCertificate(der); err != nil {
		return nil, nil, nil, err
	}
	if err = v.write(rootFile, m.Root); err != nil {
		return nil, nil, nil, err
	}
	if err = v.write(signerFile, m.CA); err != nil {
		return nil, nil, nil, err
	}
	return m, authority, recovery, v.Establish(m.Own, authority)
}

// backdate is by how much a founder's certificate begins before its time, for hosts whose clocks differ a little.
const backdate = time.Hour

// addresses are those of a member while nobody has any yet.
func addresses(a *keys.Authority, node keys.NodeID) []netip.Addr {
	addrs := []netip.Addr{node.Addr(a.Network)}
	if v4 := keys.IPv4Candidate(a.Network, node, 0, a.IPRange); v4.IsValid() {
		addrs = append(addrs, v4)
	}
	return addrs
}
