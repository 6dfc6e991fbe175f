package stun_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"

	"warren/keys"
	"warren/nat/stun"
)

func key(s string) [32]byte { return sha256.Sum256([]byte(s)) }

func tx(s string) [12]byte { h := sha256.Sum256([]byte(s)); return [12]byte(h[:12]) }

func TestCheckAndAnswer(t *testing.T) {
	userKey, pair, id := key("user"), key("pair"), keys.NodeID(key("node"))
	for _, mapped := range []string{"198.51.100.7:41641", "[2001:db8::7]:1", "[::ffff:192.0.2.1]:65535"} {
		x := tx(mapped)
		request := stun.Request(x, stun.User(userKey, x, id), pair)
		m, err := stun.Parse(request)
		if err != nil || m.Kind != stun.RequestKind || m.ID != x || !m.Signed {
			t.Fatalf("Parse(request) = %+v, %v", m, err)
		}
		if got := stun.Sender(userKey, m.ID, m.User); got != [8]byte(id[:8]) {
			t.Errorf("Sender = %x, want %x", got, id[:8])
		}
		if !m.Verify(pair) || m.Verify(key("other")) || !m.Verify(pair) {
			t.Error("Verify says yes and no the wrong way round")
		}
		if len(request) != 72 {
			t.Errorf("a check is %d bytes, want 72", len(request))
		}
		to := netip.MustParseAddrPort(mapped)
		want := netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
		m, err = stun.Parse(stun.Response(x, to, pair))
		if err != nil || m.Kind != stun.SuccessKind || m.ID != x || m.Mapped != want || !m.Verify(pair) {
			t.Errorf("Parse(response) = %+v, %v, want mapped %s", m, err, want)
		}
	}
}

func TestJoinerIsZero(t *testing.T) {
	x, userKey := tx("join"), key("user")
	if got := stun.Sender(userKey, x, stun.User(userKey, x, keys.NodeID{})); got != [8]byte{} {
		t.Errorf("a joiner's sender = %x, want zeros", got)
	}
}

func TestUserHidesSender(t *testing.T) {
	userKey, id := key("user"), keys.NodeID(key("node"))
	a, b := stun.User(userKey, tx("a"), id), stun.User(userKey, tx("b"), id)
	if bytes.Equal(a[8:], b[8:]) || bytes.Equal(a[8:], id[:8]) {
		t.Errorf("two checks of one sender look alike: %x, %x", a, b)
	}
}

// Any flipped bit makes a check unreadable or unverified.
func TestFlippedBits(t *testing.T) {
	x, pair := tx("flip"), key("pair")
	for _, good := range [][]byte{
		stun.Request(x, stun.User(key("user"), x, keys.NodeID(key("node"))), pair),
		stun.Response(x, netip.MustParseAddrPort("192.0.2.1:7"), pair),
	} {
		for i := range len(good) * 8 {
			bad := bytes.Clone(good)
			bad[i/8] ^= 1 << (i % 8)
			if m, err := stun.Parse(bad); err == nil && m.Verify(pair) {
				t.Errorf("bit %d of %x flipped is accepted", i, good)
			}
		}
	}
}

// The responses of RFC 5769 sections 2.2 and 2.3, whose password is VOkJxbRl1RmTxUk/WvJxBt (shorter than our keys).
func TestVectors(t *testing.T) {
	for _, v := range []struct{ name, hex, mapped string }{
		{"v4", "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220" +
			"002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96", "192.0.2.1:32853"},
		{
			"v6", "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220" +
				"002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c",
			"[2001:db8:1234:5678:11:2233:4455:6677]:32853",
		},
	} {
		b, err := hex.DecodeString(v.hex)
		if err != nil {
			t.Fatal(err)
		}
		m, err := stun.Parse(b)
		if err != nil || m.Mapped != netip.MustParseAddrPort(v.mapped) {
			t.Errorf("%s: Parse = %+v, %v, want %s", v.name, m, err, v.mapped)
		}
	}
}

func TestPlain(t *testing.T) {
	m, err := stun.Parse(stun.PlainRequest(tx("plain")))
	if err != nil || m.Signed || m.Kind != stun.RequestKind || m.Verify([32]byte{}) {
		t.Errorf("Parse(plain request) = %+v, %v", m, err)
	}
	// What a server of RFC 3489 days answers: MAPPED-ADDRESS beside XOR-MAPPED-ADDRESS, no fingerprint.
	old, err := hex.DecodeString("010100182112a442" + "000102030405060708090a0b" +
		"0001000800010007c0000201" + "0020000800012115e112a643")
	if err != nil {
		t.Fatal(err)
	}
	m, err = stun.Parse(old)
	if want := netip.MustParseAddrPort("192.0.2.1:7"); err != nil || m.Mapped != want || m.Signed {
		t.Errorf("Parse(old server) = %+v, %v, want %s", m, err, want)
	}
}

func TestMalformed(t *testing.T) {
	x := tx("bad")
	good := stun.Request(x, stun.User(key("user"), x, keys.NodeID{}), key("pair"))
	foreign := stun.User(key("user"), tx("else"), keys.NodeID{})
	for name, b := range map[string][]byte{
		"empty":            nil,
		"short":            good[:19],
		"cut":              good[:len(good)-4],
		"trailing":         append(bytes.Clone(good), 0, 0, 0, 0),
		"foreign nonce":    stun.Request(x, foreign, key("pair")),
		"wireguard":        append([]byte{1, 0, 0, 0}, make([]byte, 144)...),
		"huge":             make([]byte, 65536),
		"header only":      append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, x[:]...),
		"error class":      append([]byte{1, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42}, x[:]...),
		"answer of nobody": append([]byte{1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, x[:]...),
	} {
		if m, err := stun.Parse(b); !errors.Is(err, stun.ErrMalformed) {
			t.Errorf("%s: Parse = %+v, %v, want ErrMalformed", name, m, err)
		}
	}
}

// FuzzParse: what Parse accepts as a check or as an answer to one reads the same after it is written again.
func FuzzParse(f *testing.F) {
	x, pair := tx("fuzz"), key("pair")
	f.Add(stun.Request(x, stun.User(key("user"), x, keys.NodeID(key("node"))), pair))
	f.Add(stun.Response(x, netip.MustParseAddrPort("192.0.2.1:7"), pair))
	f.Add(stun.Response(x, netip.MustParseAddrPort("[2001:db8::1]:7"), pair))
	f.Add(stun.PlainRequest(x))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		m, err := stun.Parse(b)
		if !bytes.Equal(b, before) {
			t.Fatal("Parse changed its input")
		}
		if err != nil {
			return
		}
		m.Verify(pair)
		var again []byte
		switch {
		case m.Kind == stun.SuccessKind:
			again = stun.Response(m.ID, m.Mapped, pair)
		case m.Signed:
			again = stun.Request(m.ID, m.User, pair)
		default:
			again = stun.PlainRequest(m.ID)
		}
		n, err := stun.Parse(again)
		if err != nil || n.Kind != m.Kind || n.ID != m.ID || n.User != m.User || n.Mapped != m.Mapped {
			t.Errorf("written again: %+v, %v, want %+v", n, err, m)
		}
	})
}

// FuzzRoundTrip: whatever is written is read back and verifies with its key only.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("transaction."), []byte("node"), []byte{192, 0, 2, 1}, uint16(7))
	f.Fuzz(func(t *testing.T, id, node, ip []byte, port uint16) {
		x, userKey, pair, sender := tx(string(id)), key("user"), key("pair"), keys.NodeID(sha256.Sum256(node))
		m, err := stun.Parse(stun.Request(x, stun.User(userKey, x, sender), pair))
		if err != nil || !m.Verify(pair) || m.Verify(userKey) || stun.Sender(userKey, m.ID, m.User) != [8]byte(sender[:8]) {
			t.Errorf("request of %x: %+v, %v", x, m, err)
		}
		addr, ok := netip.AddrFromSlice(ip)
		if !ok || addr.IsUnspecified() || addr.Unmap().IsUnspecified() || port == 0 {
			return
		}
		want := netip.AddrPortFrom(addr.Unmap(), port)
		m, err = stun.Parse(stun.Response(x, netip.AddrPortFrom(addr, port), pair))
		if err != nil || !m.Verify(pair) || m.Mapped != want {
			t.Errorf("response to %s: %+v, %v", want, m, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	x, pair := tx("bench"), key("pair")
	packet := stun.Request(x, stun.User(key("user"), x, keys.NodeID{}), pair)
	b.ReportAllocs()
	for b.Loop() {
		m, err := stun.Parse(packet)
		if err != nil || !m.Verify(pair) {
			b.Fatal(err)
		}
	}
}
