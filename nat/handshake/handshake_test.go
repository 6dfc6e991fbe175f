package handshake

import (
	"testing"
	"time"

	"warren/nat/demux"
)

// begun is when the initiation of a State left in these tests.
const begun = int64(1000 * time.Second)

// initiated returns a State with an own initiation of that index.
func initiated(t *testing.T, index [4]byte) *State {
	t.Helper()
	msg := make([]byte, demux.SizeInitiation)
	msg[0] = demux.TypeInitiation
	copy(msg[4:8], index[:])
	s := new(State)
	if !s.Initiated(msg, begun) {
		t.Fatal("an initiation to a silent peer is held back")
	}
	return s
}

// A response stops the resends: it names the sender's index of the initiation.
func TestResponseAnswersInitiation(t *testing.T) {
	s := initiated(t, [4]byte{1, 2, 3, 4})
	for _, c := range []struct {
		index [4]byte
		want  bool
	}{{[4]byte{1, 2, 3, 5}, false}, {[4]byte{1, 2, 3, 4}, true}} {
		response := make([]byte, demux.SizeResponse)
		response[0] = demux.TypeResponse
		copy(response[8:12], c.index[:])
		s.Response(response)
		if got := s.Unanswered(begun+1) == nil; got != c.want {
			t.Errorf("response to %x: answered %v, want %v", c.index, got, c.want)
		}
	}
}

func TestUnanswered(t *testing.T) {
	if got := new(State).Unanswered(begun); got != nil || new(State).Began() {
		t.Errorf("%x without a handshake", got)
	}
	s := initiated(t, [4]byte{1})
	if got := s.Unanswered(begun + int64(resendFor)); len(got) != demux.SizeInitiation || !s.Began() {
		t.Errorf("%x, want the initiation", got)
	}
	if got := s.Unanswered(begun + int64(resendFor) + 1); got != nil {
		t.Errorf("%x, which is too old", got)
	}
	s.Responded()
	if got := s.Unanswered(begun + 1); got != nil {
		t.Errorf("%x, which the device has forgotten", got)
	}
}

func TestCrosses(t *testing.T) {
	for _, c := range []struct {
		name            string
		leads, answered bool
		after           time.Duration
		want            bool
	}{
		{"leader", true, false, crossFor - 1, true},
		{"leader, later", true, false, crossFor, false},
		{"leader, answered", true, true, time.Second, false},
		{"follower", false, false, time.Second, false},
	} {
		s := initiated(t, [4]byte{1})
		s.SetLeads(c.leads)
		if c.answered {
			s.Responded()
		}
		if got := s.Crosses(begun + int64(c.after)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// An initiation waits while the device answers that of the peer; one that left before is sent again later.
func TestAnswering(t *testing.T) {
	var s State
	if s.Answering(begun) {
		t.Error("answers nothing")
	}
	s.Accepted(begun)
	if s.Initiated(make([]byte, demux.SizeInitiation), begun+int64(justNow)-1) {
		t.Error("an initiation leaves beside the answer")
	}
	if s.Unanswered(begun+int64(justNow)) == nil || s.Answering(begun+int64(justNow)) {
		t.Error("and never after it")
	}
}
