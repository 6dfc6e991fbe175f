package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// setting is one key. set stores a value that the TOML decoder made, or returns what is wrong with it.
type setting struct {
	key     string
	example string
	inert   bool // accepted, but without effect in this version
	set     func(c *Config, v any) string
}

// settings are all keys, in the order of the manual.
var settings = []setting{
	{key: "listen_port", example: "for example: listen_port = 41641", set: func(c *Config, v any) string {
		return port(&c.ListenPort, v)
	}},
	{key: "interface", example: `for example: interface = "warren0"`, set: func(c *Config, v any) string {
		return text(&c.Interface, v, checkInterface)
	}},
	{key: "advertise", example: `for example: advertise = ["vpn.example.org:41641"]`, set: func(c *Config, v any) string {
		return list(&c.Advertise, v, hostPort)
	}},
	{key: "stun", example: `for example: stun = ["stun.example.org:3478"]`, set: func(c *Config, v any) string {
		return list(&c.STUN, v, hostPort)
	}},
	{key: "relay", example: `"auto", "on" or "off"`, inert: true, set: func(c *Config, v any) string {
		return text(&c.Relay, v, oneOf("auto", "on", "off"))
	}},
	{key: "relay_rate", example: `for example: relay_rate = "20mbit"`, inert: true, set: func(c *Config, v any) string {
		return rate(&c.RelayRate, v)
	}},
	{key: "metered", example: "true or false", inert: true, set: func(c *Config, v any) string {
		return flag(&c.Metered, v)
	}},
	{key: "tls_ports", example: "for example: tls_ports = [443]", inert: true, set: func(c *Config, v any) string {
		return list(&c.TLSPorts, v, port)
	}},
	{key: "proxy", example: `"env", "off" or "http://proxy.example.org:3128"`, inert: true, set: func(c *Config, v any) string {
		return text(&c.Proxy, v, checkProxy)
	}},
	{key: "port_mapping", example: "true or false", inert: true, set: func(c *Config, v any) string {
		return flag(&c.PortMapping, v)
	}},
	{key: "lan_discovery", example: "true or false", inert: true, set: func(c *Config, v any) string {
		return flag(&c.LANDiscovery, v)
	}},
	{key: "prediction", example: "true or false", inert: true, set: func(c *Config, v any) string {
		return flag(&c.Prediction, v)
	}},
}

func flag(to *bool, v any) string {
	b, ok := v.(bool)
	if !ok {
		return want("true or false", v)
	}
	*to = b
	return ""
}

// maxString is the longest string that is a value.
const maxString = 512

func text(to *string, v any, check func(string) string) string {
	s, ok := v.(string)
	if !ok {
		return want("a string", v)
	}
	if len(s) > maxString {
		return fmt.Sprintf("longer than %d bytes", maxString)
	}
	if msg := check(s); msg != "" {
		return msg
	}
	*to = s
	return ""
}

func port(to *int, v any) string {
	n, ok := v.(int64)
	if !ok {
		return want("a number", v)
	}
	if n < 1 || n > 65535 {
		return fmt.Sprintf("%d is not a port of 1 to 65535", n)
	}
	*to = int(n)
	return ""
}

// list stores a list each of whose items one stores.
func list[T any](to *[]T, v any, one func(*T, any) string) string {
	items, ok := v.([]any)
	if !ok {
		return want("a list", v)
	}
	out := make([]T, len(items))
	for i, item := range items {
		if msg := one(&out[i], item); msg != "" {
			return msg
		}
	}
	*to = out
	return ""
}

func hostPort(to *string, v any) string { return text(to, v, CheckHostPort) }

// CheckHostPort returns what is wrong with a HOST:PORT, "" if nothing is. It resolves nothing.
func CheckHostPort(s string) string {
	host, portText, err := net.SplitHostPort(s)
	if err != nil || host == "" || strings.ContainsAny(host, " \t\r\n/") {
		return fmt.Sprintf("%q is not HOST:PORT (an IPv6 address stands in brackets)", s)
	}
	if n, err := strconv.ParseUint(portText, 10, 16); err != nil || n == 0 {
		return fmt.Sprintf("%q has no port of 1 to 65535", s)
	}
	return ""
}

// rate reads bits a second: a number and the unit kbit, mbit or gbit, as tc does.
func rate(to *uint64, v any) string {
	s, ok := v.(string)
	if !ok {
		return want("a string", v)
	}
	for unit, factor := range map[string]float64{"kbit": 1e3, "mbit": 1e6, "gbit": 1e9} {
		number, ok := strings.CutSuffix(strings.ToLower(s), unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n*factor >= 1) || n*factor > 1e15 { // 0 would be no limit
			break
		}
		*to = uint64(n * factor)
		return ""
	}
	return fmt.Sprintf("%q is not a number and one of kbit, mbit, gbit", s)
}

func oneOf(words ...string) func(string) string {
	return func(s string) string {
		if slices.Contains(words, s) {
			return ""
		}
		return fmt.Sprintf("%q is not one of %s", s, strings.Join(words, ", "))
	}
}

// checkInterface holds a name to what Linux takes: 1 to 15 bytes, no slash, blank or colon, not "." or "..".
func checkInterface(s string) string {
	bad := func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r == '%' || r > '~' }
	if s == "" || len(s) > 15 || s == "." || s == ".." || strings.ContainsFunc(s, bad) {
		return fmt.Sprintf("%q is not an interface name (1 to 15 letters, digits, - and _)", s)
	}
	return ""
}

func checkProxy(s string) string {
	if s == "env" || s == "off" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return `not "env", "off" or the URL of an HTTP proxy`
	}
	return ""
}

func want(what string, v any) string {
	got := map[string]string{
		"string": "a string", "int64": "a number", "float64": "a fraction", "bool": "true or false",
		"[]interface {}": "a list",
	}[fmt.Sprintf("%T", v)]
	if got == "" {
		got = "something else"
	}
	return fmt.Sprintf("want %s, got %s", what, got)
}
