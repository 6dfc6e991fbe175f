package path

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"warren/keys"
)

var update = flag.Bool("update", false, "rewrite the golden files of testdata")

// TestScripts runs the scripts of testdata. A line that begins in the first column is an event and when it happens,
//
//	TIME candidates|connect|initiation|traffic|request|answer|call|ack|go|proven|warm|reset|tick ARGUMENTS
//
// or one of these: "TIME net ADDRESS RTT" lets all later checks to ADDRESS be answered after RTT, "TIME net ADDRESS off"
// ends that, "TIME run" lets time go on until then, "TIME late" too but nobody looks before, and "clock DURATION" moves
// the clock without time going by. "higher" as the first line makes our id the higher one.
// What the core does then is indented. Checks are named c1, c2…, sessions s1, s2…
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := newScript()
			for i, line := range strings.Split(strings.TrimSuffix(string(want), "\n"), "\n") {
				if strings.HasPrefix(line, "\t") {
					continue
				}
				if err := s.line(line); err != nil {
					t.Fatalf("%s:%d: %q: %v", file, i+1, line, err)
				}
			}
			for _, fault := range s.core.faults {
				t.Error(fault)
			}
			got := s.out.String()
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s differs, see with -update:\n%s", file, got)
			}
		})
	}
}

type script struct {
	core     *checked
	cfg      Config
	out      strings.Builder
	at       time.Duration // of the script
	skew     time.Duration // of the core's clock
	net      map[netip.AddrPort]time.Duration
	pending  []pending
	checks   []SendCheck
	sessions []uint64
}

// pending is an answer on its way.
type pending struct {
	at    time.Duration
	check int
}

func newScript() *script {
	s := &script{net: map[netip.AddrPort]time.Duration{}}
	s.cfg = Config{Self: keys.NodeID{1}, Peer: keys.NodeID{2}, Seed: 1}
	s.core = newChecked(s.cfg)
	return s
}

func start() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func (s *script) line(line string) error {
	words := strings.Fields(line)
	if len(words) > 1 && words[0] != "#" && words[0] != "clock" {
		at, err := time.ParseDuration(words[0])
		switch {
		case err != nil:
			return err
		case at < s.at:
			return errors.New("time goes back")
		case words[1] == "late":
			s.at = at
		default:
			s.until(at)
		}
	}
	fmt.Fprintln(&s.out, line)
	switch {
	case len(words) == 0 || words[0] == "#":
		return nil
	case words[0] == "higher": // our id is
		s.cfg.Self, s.cfg.Peer = s.cfg.Peer, s.cfg.Self
		s.core = newChecked(s.cfg)
		return nil
	case words[0] == "clock" && len(words) == 2:
		d, err := time.ParseDuration(words[1])
		s.skew += d
		return err
	case len(words) < 2:
		return errors.New("too short")
	}
	if words[1] == "net" || words[1] == "run" || words[1] == "late" {
		return s.setNet(words[2:])
	}
	ev, err := s.event(words[1], words[2:])
	if err == nil {
		s.do(ev)
	}
	return err
}

func (s *script) setNet(args []string) error {
	if len(args) == 0 {
		return nil
	}
	if len(args) != 2 {
		return errors.New("want ADDRESS RTT")
	}
	addr, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return err
	}
	delete(s.net, addr)
	if args[1] == "off" {
		return nil
	}
	s.net[addr], err = time.ParseDuration(args[1])
	return err
}

// until lets the core tick and answers arrive up to at.
func (s *script) until(at time.Duration) {
	for {
		next, answer := at, -1
		if wake := s.core.wake; !wake.IsZero() && wake.Sub(start())-s.skew <= next {
			next, answer = max(wake.Sub(start())-s.skew, s.at), -2
		}
		for i, p := range s.pending {
			if at := max(p.at, s.at); at < next || at == next && answer == -1 {
				next, answer = at, i
			}
		}
		if answer == -1 {
			s.at = at
			return
		}
		s.at = next
		if answer == -2 {
			s.core.wake = time.Time{}
			s.quiet("tick", Tick{})
			continue
		}
		n := s.pending[answer].check
		s.pending = append(s.pending[:answer], s.pending[answer+1:]...)
		s.quiet(fmt.Sprintf("answer c%d", n), CheckAnswered{ID: s.checks[n-1].ID, Path: s.checks[n-1].Path})
	}
}

// quiet does what the script does not name. A Tick without an action is not worth a line.
func (s *script) quiet(name string, ev Event) {
	before := s.out.Len()
	fmt.Fprintf(&s.out, "\t%v %s\n", s.at, name)
	head := s.out.Len()
	s.do(ev)
	if s.out.Len() == head && name == "tick" {
		text := s.out.String()[:before]
		s.out.Reset()
		s.out.WriteString(text)
	}
}

func (s *script) do(ev Event) {
	acts := s.core.step(start().Add(s.at+s.skew), ev)
	for _, act := range acts {
		switch act := act.(type) {
		case SendCheck:
			s.checks = append(s.checks, act)
			n := len(s.checks)
			fmt.Fprintf(&s.out, "\t\tcheck c%d %s\n", n, act.Path.Remote)
			if rtt, ok := s.net[act.Path.Remote]; ok {
				s.pending = append(s.pending, pending{s.at + rtt, n})
			}
		case SendSignal:
			name := [...]string{SignalCall: "call", SignalAck: "ack", SignalGo: "go"}[act.Signal]
			fmt.Fprintf(&s.out, "\t\t%s %s\n", name, s.session(act.Session))
		case Use:
			fmt.Fprintf(&s.out, "\t\tuse %s\n", act.Path)
		case Resend:
			fmt.Fprintf(&s.out, "\t\tresend\n")
		case Refresh:
			fmt.Fprintf(&s.out, "\t\trefresh\n")
		case Changed:
			snap := s.core.Snapshot()
			fmt.Fprintf(&s.out, "\t\tchanged: %s", snap.State)
			if snap.Proven {
				fmt.Fprintf(&s.out, ", proven")
			}
			if snap.Acked {
				fmt.Fprintf(&s.out, ", acked")
			}
			fmt.Fprintln(&s.out)
		case Wake:
		}
	}
}

func (s *script) session(n uint64) string {
	if n < 1000 {
		return strconv.FormatUint(n, 10) // the peer's, by the script
	}
	for i, m := range s.sessions {
		if m == n {
			return fmt.Sprintf("s%d", i+1)
		}
	}
	s.sessions = append(s.sessions, n)
	return fmt.Sprintf("s%d", len(s.sessions))
}

func (s *script) event(name string, args []string) (Event, error) {
	switch name {
	case "candidates":
		list, err := candidates(args)
		return Candidates{Remote: list}, err
	case "connect":
		return Connect{}, nil
	case "initiation":
		return Initiation{}, nil
	case "warm":
		return KeepWarm{Urgent: len(args) > 0 && args[0] == "urgent"}, nil
	case "reset":
		return Reset{}, nil
	case "tick":
		return Tick{}, nil
	case "call", "ack", "go":
		return s.signal(name, args)
	case "traffic":
		ev := Traffic{}
		for i, word := range args {
			switch word {
			case "tx":
				ev.Tx = true
			case "rx":
				ev.Rx = true
			case "from":
				addr, err := netip.ParseAddrPort(args[i+1])
				ev.From = UDP(addr)
				return ev, err
			}
		}
		return ev, nil
	case "request", "answer", "proven":
		return s.packet(name, args)
	}
	return nil, errors.New("no such event")
}

func (s *script) packet(name string, args []string) (Event, error) {
	if name == "proven" {
		addr, err := netip.ParseAddrPort(args[0])
		return Proven{Path: UDP(addr)}, err
	}
	id := [12]byte([]byte(fmt.Sprintf("%-12s", args[0])))
	p := Path{}
	if name == "answer" {
		if n, err := strconv.Atoi(strings.TrimPrefix(args[0], "c")); err == nil && n <= len(s.checks) {
			id, p = s.checks[n-1].ID, s.checks[n-1].Path
		}
	}
	if len(args) > 1 {
		addr, err := netip.ParseAddrPort(args[1])
		if err != nil {
			return nil, err
		}
		p = UDP(addr)
	}
	if name == "answer" {
		return CheckAnswered{ID: id, Path: p}, nil
	}
	return CheckRequested{ID: id, Path: p}, nil
}

func (s *script) signal(name string, args []string) (Event, error) {
	var session uint64
	if n, ok := strings.CutPrefix(args[0], "s"); ok {
		i, err := strconv.Atoi(n)
		if err != nil || i > len(s.sessions) {
			return nil, errors.New("no such session")
		}
		session = s.sessions[i-1]
	} else {
		n, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			return nil, err
		}
		session = n
	}
	list, err := candidates(args[1:])
	switch name {
	case "call":
		return Call{Session: session, Candidates: list}, err
	case "ack":
		return Ack{Session: session, Candidates: list}, err
	}
	return Go{Session: session}, err
}

func candidates(args []string) (list []keys.Candidate, err error) {
	kinds := map[string]keys.CandidateKind{
		"host": keys.Host, "srflx": keys.ServerReflexive, "prflx": keys.PeerReflexive, "mapped": keys.Mapped, "relayed": keys.Relayed,
	}
	for _, arg := range args {
		kind, addr, ok := strings.Cut(arg, "=")
		a, err := netip.ParseAddrPort(addr)
		if !ok || kinds[kind] == 0 || err != nil {
			return nil, fmt.Errorf("%q is no KIND=ADDRESS: %w", arg, err)
		}
		list = append(list, keys.Candidate{Kind: kinds[kind], Addr: a})
	}
	return list, nil
}
