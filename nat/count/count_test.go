package count

import "testing"

func TestEveryReasonHasItsName(t *testing.T) {
	var s Set
	for r := range reasons {
		for range r + 1 {
			s.Add(r)
		}
	}
	all := s.All()
	if len(all) != int(reasons) {
		t.Fatalf("%d names for %d reasons: %v", len(all), reasons, all)
	}
	for r, name := range names() {
		if name == "" || all[name] != uint64(r)+1 {
			t.Errorf("reason %d, %q, counts %d, want %d", r, name, all[name], r+1)
		}
	}
}
