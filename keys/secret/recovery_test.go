package secret

import (
	"errors"
	"strings"
	"testing"
)

func TestRecoveryIsReadAsPeopleWriteIt(t *testing.T) {
	want := rfc8032(t)
	text := want.Recovery()
	if len(text) != 69 || strings.Count(text, "-") != 9 {
		t.Errorf("%d characters with %d hyphens", len(text), strings.Count(text, "-"))
	}
	bare := strings.ReplaceAll(text, "-", "")
	for _, s := range []string{
		text, strings.ToUpper(text), bare, " " + text + "\r\n", strings.ReplaceAll(text, "-", " - "), strings.ReplaceAll(text, "-", "\n"),
	} {
		if got, err := ParseRecovery(s); err != nil || !got.Key().Equal(want.Key()) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestRecoveryRefuses(t *testing.T) {
	text := rfc8032(t).Recovery()
	bad := []string{
		"", text[:68], text[:60], text + "a", text + "-aaaaaa", strings.Replace(text, "-", "_", 1), strings.Replace(text, "-", ".", 1),
		text + strings.Repeat(" ", 1000), strings.Repeat("a", 60), text + "=",
	}
	for i := range text { // every mistyped character
		if other := "b"; text[i] != '-' {
			if text[i] == 'b' {
				other = "c"
			}
			bad = append(bad, text[:i]+other+text[i+1:])
		}
	}
	first, second := text[:6], text[7:13]
	bad = append(bad, second+"-"+first+text[13:]) // two groups in the wrong order
	for _, s := range bad {
		_, err := ParseRecovery(s)
		if !errors.Is(err, ErrRecovery) {
			t.Errorf("%.80q: got %v, want %v", s, err, ErrRecovery)
		} else if strings.Contains(err.Error(), text[14:20]) {
			t.Errorf("the error quotes the key: %v", err)
		}
	}
}

// TestRecoveryVersion makes texts with a right checksum and a wrong version.
func TestRecoveryVersion(t *testing.T) {
	for version := range 256 {
		b := append([]byte{byte(version)}, rfc8032(t).Key().Seed()...)
		text := base32Text().EncodeToString(append(b, recoveryChecksum(b)...))
		if _, err := ParseRecovery(text); (err == nil) != (version == recoveryVersion) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

func FuzzRecovery(f *testing.F) {
	f.Add(rfc8032(f).Recovery())
	f.Add(strings.Repeat("a", 60))
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseRecovery(s)
		if err != nil {
			return
		}
		bare := strings.ReplaceAll(strings.Join(strings.Fields(strings.ToLower(s)), ""), "-", "")
		if got := strings.ReplaceAll(k.Recovery(), "-", ""); got != bare {
			t.Errorf("got %q, want %q", got, bare)
		}
	})
}

func FuzzPEM(f *testing.F) {
	ed, _ := rfc8032(f).MarshalPEM()
	wg, _ := bob(f).MarshalPEM()
	f.Add(ed)
	f.Add(wg)
	f.Fuzz(func(t *testing.T, text []byte) {
		if k, err := ParseEd25519(text, "a key"); err == nil {
			again, err := k.MarshalPEM()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ParseEd25519(again, "a key"); err != nil || !back.Key().Equal(k.Key()) {
				t.Errorf("%q: written again: %v", text, err)
			}
		}
		if k, err := ParseWGPrivatePEM(text); err == nil {
			again, err := k.MarshalPEM()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ParseWGPrivatePEM(again); err != nil || back != k {
				t.Errorf("%q: written again: %v", text, err)
			}
		}
	})
}
