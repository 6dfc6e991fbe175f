package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	text := `# of my host
listen_port = 41641
"interface" = "mesh1"
advertise = [
  "vpn.example.org:41641",
  "[2001:db8::1]:41641",
]
stun = []
relay = "off"
relay_rate = "2.5mbit"
metered = true
tls_ports = [8443]
proxy = "http://proxy.example.org:3128"
port_mapping = false
lan_discovery = false
prediction = false
`
	c, err := Parse(Default(), "f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	checks := []struct {
		key string
		ok  bool
	}{
		{"listen_port", c.ListenPort == 41641},
		{"interface", c.Interface == "mesh1"},
		{"advertise", slices.Equal(c.Advertise, []string{"vpn.example.org:41641", "[2001:db8::1]:41641"})},
		{"stun", c.STUN != nil && len(c.STUN) == 0},
		{"relay", c.Relay == "off"},
		{"relay_rate", c.RelayRate == 2_500_000},
		{"metered", c.Metered},
		{"tls_ports", slices.Equal(c.TLSPorts, []int{8443})},
		{"proxy", c.Proxy == "http://proxy.example.org:3128"},
		{"port_mapping", !c.PortMapping},
		{"lan_discovery", !c.LANDiscovery},
		{"prediction", !c.Prediction},
	}
	for _, check := range checks {
		if !check.ok {
			t.Errorf("%s was not read: %+v", check.key, c)
		}
		if _, ok := c.Pinned(check.key); !ok {
			t.Errorf("%s is not pinned", check.key)
		}
	}
	if len(checks) != len(settings) {
		t.Errorf("%d keys are tested, there are %d", len(checks), len(settings))
	}
	if got, _ := c.Pinned("stun"); got != "f:8" {
		t.Errorf("stun is pinned at %q, want f:8", got)
	}
	if got := c.Inert(); slices.Contains(got, "stun") || !slices.Contains(got, "relay") {
		t.Errorf("inert keys: %v", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct{ text, want, hint string }{
		{"listen_prot = 1", `f:1: unknown key "listen_prot"`, "listen_port"},
		{"\n\nRelay_Rates = 1", `f:3: unknown key "Relay_Rates"`, "relay_rate"},
		{"metered = true\n[interface]\nname = 1", `f:2: interface: want a string`, "interface ="},
		{"metered = true\n[dns]\nname = 1", `f:2: unknown key "dns"`, "nearest"},
		{"interface.name = 1", `f:1: interface: want a string`, ""},
		{"metered = true\nlisten_port = \"1\"", `f:2: listen_port: want a number, got a string`, "41641"},
		{"listen_port = 0", `f:1: listen_port: 0 is not a port`, ""},
		{"listen_port = 65536", `f:1: listen_port: 65536 is not a port`, ""},
		{"interface = \"a/b\"", `f:1: interface: "a/b" is not an interface name`, ""},
		{"interface = \"a234567890123456\"", `not an interface name`, ""},
		{"advertise = \"a:1\"", `advertise: want a list, got a string`, ""},
		{"advertise = [\"a\"]", `advertise: "a" is not HOST:PORT`, ""},
		{"advertise = [\"a:0\"]", `advertise: "a:0" has no port`, ""},
		{"advertise = [1]", `advertise: want a string, got a number`, ""},
		{"relay = \"maybe\"", `relay: "maybe" is not one of auto, on, off`, ""},
		{"relay_rate = \"-1mbit\"", `not a number and one of`, ""},
		{"relay_rate = \"nanmbit\"", `not a number and one of`, ""},
		{"relay_rate = 20", `want a string, got a number`, "20mbit"},
		{"metered = 1", `metered: want true or false, got a number`, ""},
		{"proxy = \"socks5://x\"", `proxy: not "env"`, ""},
		{"metered = true\n\"sto\\u0062\" = 1", `f:2: unknown key "stob"`, "nearest"},
		{"proxy = \"\"\"\nmetered = 1\n\"\"\"\nmetered = 1", `f:3: proxy:`, ""},
		{"stun = [\n\"a:1\",\n# metered = 1\n]\nmetered = 1", `f:5: metered:`, ""},
		{"metered = true\n[[stun]]\na = 1", `f:2: stun: want a list, got something else`, ""},
		{"metered = true\n\nproxy.a.b = 1", `f:3: proxy:`, ""},
		{"relay_rate = \"0.0001kbit\"", `not a number and one of`, ""},
		{"interface = \"" + strings.Repeat("a", 600) + "\"", `f:1: interface: longer than`, ""},
		{strings.Repeat("a", 600) + " = 1", `f:1: unknown key "aaa`, ""},
		{"a = " + strings.Repeat("[", 2000), `f:1: `, ""},
		{"a = " + strings.Repeat("[\n", 30<<10), `f:`, ""},
		{"\n" + strings.Repeat("a.", 1000) + "a = 1", `f:2: unknown key "a"`, ""},
		{"\n" + strings.Repeat("a.", 30<<10) + "a = 1", `f:2: a line of more than`, ""},
		{strings.Repeat("#", 70<<10), `larger than 64 KiB`, ""},
		{"metered = true\nmetered = true", `f:2: `, ""},
		{"metered = \n", `f:1: `, ""},
		{"a = \xff", `f:1: `, ""},
	} {
		_, err := Parse(Default(), "f", []byte(test.text))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: got %v, want an *Error", test.text, err)
			continue
		}
		if !strings.Contains(e.Error(), test.want) || !strings.Contains(e.Hint, test.hint) {
			t.Errorf("%q: got %q, hint %q; want %q, hint %q", test.text, e, e.Hint, test.want, test.hint)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	set := Default()
	set.Interface, set.ListenPort = "set0", 1000
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}

	c, err := Load(set, dir, "", Flags{})
	if err != nil || c.Interface != "set0" {
		t.Errorf("without a file: interface %q, %v; want set0", c.Interface, err)
	}
	write("warren.toml", "interface = \"file0\"\nlisten_port = 2000\n")
	c, err = Load(set, dir, "", Flags{ListenPort: 3000})
	if err != nil || c.Interface != "file0" || c.ListenPort != 3000 {
		t.Errorf("got %q and %d, %v; want file0 and 3000", c.Interface, c.ListenPort, err)
	}
	if got, _ := c.Pinned("listen_port"); got != "--listen-port" {
		t.Errorf("listen_port is pinned by %q, want the flag", got)
	}
	c, err = Load(set, dir, write("other.toml", "interface = \"other0\""), Flags{})
	if err != nil || c.Interface != "other0" || c.ListenPort != 1000 {
		t.Errorf("got %q and %d, %v; want other0 and 1000", c.Interface, c.ListenPort, err)
	}

	if _, err := Load(set, dir, "/dev/zero", Flags{}); err == nil {
		t.Error("a file without end was read")
	}
	var e *Error
	if _, err = Load(set, dir, filepath.Join(dir, "missing.toml"), Flags{}); !errors.As(err, &e) {
		t.Errorf("a named file that is missing: got %v, want an *Error", err)
	}
	if _, err = Load(set, dir, "", Flags{Interface: "a b"}); !errors.As(err, &e) || e.File != "--interface" {
		t.Errorf("a bad flag: got %v, want an *Error of --interface", err)
	}
	if _, err = Load(set, dir, "", Flags{ListenPort: 70000}); !errors.As(err, &e) || e.File != "--listen-port" {
		t.Errorf("a bad flag: got %v, want an *Error of --listen-port", err)
	}
}

func TestPlaces(t *testing.T) {
	for _, test := range []struct{ state, socket, file string }{
		{"/var/lib/warren", "/run/warren/warren.sock", "/etc/warren/warren.toml"},
		{"/var/lib/warren/", "/run/warren/warren.sock", "/etc/warren/warren.toml"},
		{"/tmp/a", "/tmp/a/warren.sock", "/tmp/a/warren.toml"},
	} {
		if got := SocketPath(test.state); got != test.socket {
			t.Errorf("socket of %s: got %s, want %s", test.state, got, test.socket)
		}
		if got := FilePath(test.state); got != test.file {
			t.Errorf("file of %s: got %s, want %s", test.state, got, test.file)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"stun", "stun", 0}} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("distance of %q and %q: got %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

// FuzzParse: a text that is refused tells where, and one that is taken gives settings that hold the rules, and the same
// ones when it is read over its own result.
func FuzzParse(f *testing.F) {
	f.Add("listen_port = 41641\ninterface = \"warren0\"\n")
	f.Add("advertise = [\"a:1\", \"[::1]:2\"]\nrelay_rate = \"1gbit\"\ntls_ports = [443]")
	f.Add("[interface]\nx = 1")
	f.Add("stun.a = 1")
	f.Add("\"sto\\u0062\" = 1")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(Default(), "f", []byte(text))
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.File != "f" || e.Message == "" || e.Line < 1 && len(text) <= maxFile {
				t.Fatalf("got %#v, want an *Error with file, line and message", err)
			}
			return
		}
		if c.ListenPort < 0 || c.ListenPort > 65535 || checkInterface(c.Interface) != "" || checkProxy(c.Proxy) != "" {
			t.Fatalf("took %+v", c)
		}
		for _, s := range slices.Concat(c.Advertise, c.STUN) {
			if CheckHostPort(s) != "" {
				t.Fatalf("took the endpoint %q", s)
			}
		}
		again, err := Parse(c, "f", []byte(text))
		if err != nil || !slices.Equal(again.Advertise, c.Advertise) || again.ListenPort != c.ListenPort ||
			again.RelayRate != c.RelayRate || len(again.pins) != len(c.pins) {
			t.Fatalf("read over its own result: %+v, %v; want %+v", again, err, c)
		}
	})
}
