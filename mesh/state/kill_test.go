package state

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"warren/mesh/gossip"
)

// killEnv makes the test binary an agent that writes into a folder until it is killed.
const killEnv = "WARREN_TEST_STATE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		fmt.Println(writeForEver(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForEver writes items and a file, and says on stdout what is surely written.
func writeForEver(dir string) error {
	f, err := open(dir, noGroup)
	if err != nil {
		return err
	}
	s, err := f.OpenStore(quiet())
	if err != nil {
		return err
	}
	first := uint64(1)
	for _, it := range must(s.Load()) {
		first = max(first, it.Seq+1)
	}
	for i := first; err == nil; i++ {
		err = s.PutSync(row(gossip.KindRecord, 1, i), row(gossip.KindReceipt, int(i%500), 0), row(gossip.KindGrant, int(i%90), i))
		if err == nil {
			err = f.WriteFile(SettingsFile, []byte(strings.Repeat(fmt.Sprintln(i), 500)))
		}
		if err == nil && i%3 == 0 {
			err = s.mirror()
		}
		if err == nil {
			fmt.Println(i)
		}
	}
	return err
}

// An agent killed at any time leaves a folder that the next one opens at once, with all that was acknowledged.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		agent := exec.Command(os.Args[0])
		agent.Env = append(os.Environ(), killEnv+"="+dir)
		out := must(agent.StdoutPipe())
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() {
			t.Fatal("the agent does not begin")
		}
		if round == 0 {
			if _, err := open(dir, noGroup); !errors.Is(err, ErrLocked) {
				t.Errorf("beside another agent: got %v, want %v", err, ErrLocked)
			}
		}
		kill := time.AfterFunc(time.Duration(round*7)*time.Millisecond, func() { _ = agent.Process.Kill() })
		var acked uint64
		for ok := true; ok; ok = lines.Scan() {
			if _, err := fmt.Sscan(lines.Text(), &acked); err != nil {
				t.Fatalf("the agent says %q", lines.Text())
			}
		}
		kill.Stop()
		_ = agent.Wait()
		f := must(open(dir, noGroup))
		s := must(f.OpenStore(quiet()))
		if r := s.Report(); r != (Report{}) {
			t.Errorf("round %d: repaired %+v", round, r)
		}
		var got uint64
		for _, it := range load(t, s) {
			if it.Kind == gossip.KindRecord {
				got = it.Seq
			}
		}
		b := must(f.ReadFile(SettingsFile))
		line, _, _ := strings.Cut(string(b), "\n")
		if got < acked || string(b) != strings.Repeat(line+"\n", 500) {
			t.Errorf("round %d: record %d of %d, settings of %d bytes", round, got, acked, len(b))
		}
		if err := errors.Join(s.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
