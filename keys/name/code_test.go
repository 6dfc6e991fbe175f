package name

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file below testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: the format changed; members of today cannot read it\ngot\n%s\nwant\n%s", file, got, want)
	}
}

// pattern is 0, 1, 2... from first on.
func pattern[A ~[32]byte](first byte) (a A) {
	for i := range a {
		a[i] = first + byte(i)
	}
	return a
}

func code(endpoints ...string) JoinCode {
	c := JoinCode{
		Network: pattern[NetworkID](0), Seed: [16]byte{0xf0, 0xf1, 15: 0xff}, Expires: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC),
	}
	for _, e := range endpoints {
		c.Endpoints = append(c.Endpoints, netip.MustParseAddrPort(e))
	}
	return c
}

// vectors are codes of every shape.
func vectors() []JoinCode {
	return []JoinCode{
		code(),
		code("198.51.100.11:41641"),
		code("[2001:db8::1]:51820"),
		code("198.51.100.11:41641", "[2001:db8::1]:51820", "[2001:db8::2]:65535"),
		code("192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3"),
	}
}

func equal(a, b JoinCode) bool {
	return a.Network == b.Network && a.Seed == b.Seed && a.Expires.Equal(b.Expires) && slices.Equal(a.Endpoints, b.Endpoints)
}

func TestJoinCodeGolden(t *testing.T) {
	var b strings.Builder
	for _, c := range vectors() {
		i := c.Invite()
		fmt.Fprintf(&b, "code      %s\nendpoints %v\ninvite    %s\nkey       %x\n\n", c, c.Endpoints, i.ID, i.Key.Public())
	}
	golden(t, "codes.txt", b.String())
}

// TestJoinCodeLayout builds a code from the words of the design and not from the writer.
func TestJoinCodeLayout(t *testing.T) {
	raw, err := hex.DecodeString("01" + "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" + // network
		"f0f100000000000000000000000000ff" + // seed
		"01c5e890" + // 29747344 minutes
		"04" + "c633640b" + "a2a9" + "06" + "20010db8000000000000000000000001" + "ca6c")
	if err != nil {
		t.Fatal(err)
	}
	text := seal(raw)
	got, err := ParseJoinCode(text)
	if err != nil {
		t.Fatal(err)
	}
	want := code("198.51.100.11:41641", "[2001:db8::1]:51820")
	want.Expires = time.Unix(0x01c5e890*60, 0)
	if !equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.String() != text {
		t.Errorf("written again it is %s, was %s", got, text)
	}
}

// seal makes a code of everything before the checksum, whatever it says.
func seal(body []byte) string {
	sum := sha256.Sum256(body)
	return codePrefix + encoding.EncodeToString(append(slices.Clone(body), sum[:4]...))
}

// open returns everything before the checksum.
func open(t *testing.T, c JoinCode) []byte {
	t.Helper()
	b, err := encoding.DecodeString(strings.TrimPrefix(c.String(), codePrefix))
	if err != nil {
		t.Fatal(err)
	}
	return b[:len(b)-4]
}

func TestJoinCodeIsReadAsPeopleWriteIt(t *testing.T) {
	for _, c := range vectors() {
		text := c.String()
		if len(text) > MaxCode {
			t.Errorf("%v: %d characters, want at most %d", c.Endpoints, len(text), MaxCode)
		}
		for _, s := range []string{text, strings.ToUpper(text), " \t" + text + "\r\n", strings.ToUpper(text[:20]) + text[20:]} {
			got, err := ParseJoinCode(s)
			if err != nil || !equal(got, c) {
				t.Errorf("%q: got %+v, %v, want %+v", s, got, err, c)
			}
		}
	}
}

func TestJoinCodeRefuses(t *testing.T) {
	good := code("198.51.100.11:41641", "[2001:db8::1]:51820")
	body := open(t, good)
	with := func(i int, v byte) string {
		b := slices.Clone(body)
		b[i] = v
		return seal(b)
	}
	six := slices.Concat([]byte{6}, netip.MustParseAddr("2001:db8::1").AsSlice(), []byte{1, 1})
	four := []byte{4, 192, 0, 2, 1, 1, 1}
	head := body[:codeHeader]
	endpoint := func(text string, port byte) string {
		a := netip.MustParseAddr(text)
		return seal(slices.Concat(head, []byte{map[bool]byte{true: 4, false: 6}[a.Is4()]}, a.AsSlice(), []byte{0, port}))
	}
	for name, test := range map[string]struct {
		code string
		want error
	}{
		"nothing":                      {"", ErrNotCode},
		"a word":                       {"hello", ErrNotCode},
		"a web address":                {"https://example.com/warren1:aaaa", ErrNotCode},
		"a prefix without number":      {"warren:" + strings.Repeat("a", 100), ErrNotCode},
		"a prefix with a letter":       {"warrenx:" + strings.Repeat("a", 100), ErrNotCode},
		"a code of the next version":   {"warren2:" + strings.Repeat("a", 100), ErrCodeVersion},
		"a code of a far version":      {"WARREN10:" + strings.Repeat("a", 100), ErrCodeVersion},
		"version 0, checksum right":    {with(0, 0), ErrCodeVersion},
		"version 2, checksum right":    {with(0, 2), ErrCodeVersion},
		"version 255, checksum right":  {with(0, 255), ErrCodeVersion},
		"nothing behind the prefix":    {codePrefix, ErrCodeTruncated},
		"one character":                {codePrefix + "a", ErrCodeTruncated},
		"an empty body, checksum good": {seal(nil), ErrCodeTruncated},
		"half a header, checksum good": {seal(body[:20]), ErrCodeTruncated},
		"family 5, checksum right":     {with(codeHeader, 5), ErrNotCode},
		"half an endpoint":             {seal(slices.Concat(head, four[:5])), ErrCodeTruncated},
		"a byte behind the endpoints":  {seal(slices.Concat(body, []byte{0})), ErrNotCode},
		"four endpoints":               {seal(slices.Concat(head, four, four, four, four)), ErrNotCode},
		"three IPv6 endpoints":         {seal(slices.Concat(head, six, six, six)), ErrCodeChecksum}, // too long
		"port 0":                       {endpoint("192.0.2.1", 0), ErrNotCode},
		"a multicast address":          {endpoint("224.0.0.1", 1), ErrNotCode},
		"an IPv6 multicast address":    {endpoint("ff02::1", 1), ErrNotCode},
		"no address":                   {endpoint("0.0.0.0", 1), ErrNotCode},
		"the broadcast address":        {endpoint("255.255.255.255", 1), ErrNotCode},
		"IPv4 in the clothes of IPv6":  {endpoint("::ffff:192.0.2.1", 1), ErrNotCode},
		"too long":                     {good.String() + strings.Repeat("a", MaxCode), ErrCodeChecksum},
		"a blank inside":               {good.String()[:30] + " " + good.String()[30:], ErrCodeChecksum},
		"a character of no base32":     {good.String()[:30] + "1" + good.String()[31:], ErrCodeChecksum},
		"padding":                      {good.String() + "=", ErrCodeChecksum},
	} {
		c, err := ParseJoinCode(test.code)
		if !errors.Is(err, test.want) {
			t.Errorf("%s (%q): got %v, want %v", name, test.code, err, test.want)
		}
		if !equal(c, JoinCode{}) {
			t.Errorf("%s: got %+v beside an error", name, c)
		}
	}
}

// TestJoinCodeMistyped changes every character: none goes unnoticed, and the error never quotes the secret.
func TestJoinCodeMistyped(t *testing.T) {
	good := code("198.51.100.11:41641").String()
	for i := range good {
		other := byte('a')
		if good[i] == other {
			other = 'b'
		}
		bad := good[:i] + string(other) + good[i+1:]
		_, err := ParseJoinCode(bad)
		if err == nil {
			t.Fatalf("character %d: %q is read", i, bad)
		}
		if i >= len(codePrefix) && !errors.Is(err, ErrCodeChecksum) {
			t.Errorf("character %d: got %v, want %v", i, err, ErrCodeChecksum)
		}
		if strings.Contains(err.Error(), good[70:90]) {
			t.Errorf("character %d: the error quotes the code: %v", i, err)
		}
	}
}

// TestJoinCodeCutShort cuts a code at every place, as a terminal or a messenger does.
func TestJoinCodeCutShort(t *testing.T) {
	good := code("198.51.100.11:41641", "[2001:db8::1]:51820").String()
	truncated := 0
	for i := range len(good) {
		_, err := ParseJoinCode(good[:i])
		if err == nil {
			t.Fatalf("the first %d of %d characters are read", i, len(good))
		}
		if errors.Is(err, ErrCodeTruncated) {
			truncated++
		} else if i >= len(codePrefix) && !errors.Is(err, ErrCodeChecksum) {
			t.Errorf("the first %d characters: %v", i, err)
		}
	}
	if min := (len(good) - len(codePrefix)) * 9 / 10; truncated < min {
		t.Errorf("%d of %d cut codes are called truncated, want at least %d", truncated, len(good), min)
	}
}

// TestJoinCodeOneForm holds that no second text is the same code.
func TestJoinCodeOneForm(t *testing.T) {
	good := code("198.51.100.11:41641").String() // 64 bytes, 515 bits: the last character has 3 bits to spare
	for _, last := range base32Alphabet {
		text := good[:len(good)-1] + string(last)
		if _, err := ParseJoinCode(text); err == nil && text != good {
			t.Errorf("%q is read as %q", text, good)
		}
	}
}

func TestJoinCodeStringLeavesOut(t *testing.T) {
	for _, test := range []struct{ in, want []string }{
		{[]string{"192.0.2.1:0", "192.0.2.2:2"}, []string{"192.0.2.2:2"}},
		{[]string{"[2001:db8::1]:1", "[2001:db8::2]:2", "[2001:db8::3]:3", "192.0.2.4:4"}, []string{"[2001:db8::1]:1", "[2001:db8::2]:2", "192.0.2.4:4"}},
		{[]string{"192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3", "192.0.2.4:4"}, []string{"192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3"}},
		{[]string{"[fe80::1%eth0]:1", "[::ffff:192.0.2.1]:1", "[ff02::1]:1"}, nil},
	} {
		got, err := ParseJoinCode(code(test.in...).String())
		if want := code(test.want...); err != nil || !equal(got, want) {
			t.Errorf("%v: got %v, %v, want %v", test.in, got.Endpoints, err, test.want)
		}
	}
}

func TestJoinCodeExpiry(t *testing.T) {
	minute := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct{ in, want time.Time }{
		{minute, minute},
		{minute.Add(time.Second), minute.Add(time.Minute)},
		{minute.Add(59 * time.Second), minute.Add(time.Minute)},
		{time.Time{}, time.Unix(0, 0)},
		{time.Unix(-1, 0), time.Unix(0, 0)},
		{time.Unix(math.MaxInt64, 0), time.Unix(math.MaxUint32*60, 0)},
	} {
		c := code()
		c.Expires = test.in
		got, err := ParseJoinCode(c.String())
		if err != nil || !got.Expires.Equal(test.want) {
			t.Errorf("%s: got %s, %v, want %s", test.in, got.Expires, err, test.want)
		}
	}
}

func TestInviteDependsOnSeedAndNetwork(t *testing.T) {
	base := code()
	seed, network := base, base
	seed.Seed[15]++
	network.Network[31]++
	for name, other := range map[string]JoinCode{"seed": seed, "network": network} {
		a, b := base.Invite(), other.Invite()
		if a.ID == b.ID || a.Key.Equal(b.Key) {
			t.Errorf("another %s gives the same invite", name)
		}
	}
	same := code("192.0.2.1:1") // endpoints and expiry are no part of it
	same.Expires = time.Time{}
	if a, b := base.Invite(), same.Invite(); a.ID != b.ID || !a.Key.Equal(b.Key) {
		t.Error("other endpoints give another invite")
	}
	i := base.Invite()
	if !ed25519.Verify(i.Key.Public().(ed25519.PublicKey), []byte("x"), ed25519.Sign(i.Key, []byte("x"))) {
		t.Error("the invite's key does not sign")
	}
}

func TestNewSeed(t *testing.T) {
	a, err := NewSeed()
	b, err2 := NewSeed()
	if err != nil || err2 != nil || a == b || a == [16]byte{} {
		t.Errorf("got %x, %v and %x, %v", a, err, b, err2)
	}
}

// TestSecretsStayOutOfLogs prints codes and invites in the ways that logs do.
func TestSecretsStayOutOfLogs(t *testing.T) {
	c := code("192.0.2.1:1")
	i := c.Invite()
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "code", c, "invite", i)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "code", c, "invite", i)
	fmt.Fprintf(&b, "%v %+v %#v %s %x %d", i, i, i, i, i, &i)
	text, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(text)
	seed := fmt.Sprint([]int{0xf0, 0xf1})
	for _, secret := range []string{c.String()[len(codePrefix):], strings.Trim(seed, "[]"), hex.EncodeToString(i.Key[:8]), fmt.Sprint(i.Key[0], i.Key[1], i.Key[2])} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("%q is in %s", secret, b.String())
		}
	}
	if n := strings.Count(b.String(), i.ID.String()); n != 11 {
		t.Errorf("the invite's id is there %d times, want 11: %s", n, b.String())
	}
}

func FuzzJoinCode(f *testing.F) {
	for _, c := range vectors() {
		f.Add(c.String())
	}
	f.Add(codePrefix)
	f.Add("warren2:aaaa")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseJoinCode(s)
		if err != nil {
			known := []error{ErrNotCode, ErrCodeVersion, ErrCodeTruncated, ErrCodeChecksum}
			if !slices.ContainsFunc(known, func(want error) bool { return errors.Is(err, want) }) {
				t.Errorf("an error that nobody tells apart: %v", err)
			}
			return
		}
		if got, want := c.String(), strings.ToLower(strings.TrimSpace(s)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// FuzzJoinCodeBody gives the parser everything that has a right checksum.
func FuzzJoinCodeBody(f *testing.F) {
	for _, c := range vectors() {
		b, err := encoding.DecodeString(strings.TrimPrefix(c.String(), codePrefix))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		text := seal(body)
		c, err := ParseJoinCode(text)
		if err == nil && c.String() != text {
			t.Errorf("got %q, want %q", c, text)
		}
		if err == nil && len(text) > MaxCode {
			t.Errorf("%d characters", len(text))
		}
	})
}
