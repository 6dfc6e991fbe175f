package hint

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"warren/keys"
	"warren/mesh/control"
)

// What is wrong with a code is said in one sentence, without where it was found.
func TestCode(t *testing.T) {
	for text, want := range map[string]string{
		"hello":                               "this is not a join code",
		"warren2:abc":                         "this is a join code of another version",
		"warren1:abc":                         "the join code is cut short",
		"warren1:" + strings.Repeat("a", 120): "the join code is mistyped",
	} {
		_, err := keys.ParseJoinCode(text)
		got := control.AsError(Code(err))
		if got.Message != want || got.Hint == "" || got.Exit != control.ExitUsage {
			t.Errorf("%q: got %+v, want %q", text, got, want)
		}
	}
}

func TestGroups(t *testing.T) {
	got, err := Groups([]string{"web", "db", "web"})
	if want := []string{"db", "web"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	many := make([]string, keys.MaxGroups+1)
	for i := range many {
		many[i] = fmt.Sprintf("g%d", i)
	}
	for _, bad := range [][]string{{""}, {"a b"}, {strings.Repeat("x", 300)}, many} {
		_, err := Groups(bad)
		if e := control.AsError(err); e == nil || e.Exit != control.ExitUsage || e.Hint == "" || len(e.Message) > 200 {
			t.Errorf("%q: got %+v", bad, err)
		}
	}
}

// knowing is an error with a remedy.
type knowing struct{ error }

func (knowing) Remedy() string { return "chmod" }

func TestFolder(t *testing.T) {
	for _, test := range []struct {
		err  error
		exit int
		hint string
	}{
		{errors.New("no room"), control.ExitFailed, "choose another folder with --state DIR"},
		{fmt.Errorf("making: %w", fs.ErrPermission), control.ExitPermission, "run it as root, or choose another folder with --state DIR"},
		{knowing{errors.New("open")}, control.ExitFailed, "chmod"},
	} {
		if got := control.AsError(Folder(test.err)); got.Exit != test.exit || got.Hint != test.hint {
			t.Errorf("%v: got %+v", test.err, got)
		}
	}
}
