package join

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"warren/keys"
	"warren/mesh/link"
)

// office is a network with one member that is also its signer, and its registry in memory.
type office struct {
	root      *keys.Root
	identity  *keys.Identity
	wg        keys.WGPrivate
	authority *keys.Authority
	ca        *keys.CA
	own       *keys.Certificate
	now       time.Time

	grants   map[keys.InviteID]*keys.Grant
	receipts []*keys.Receipt
	names    map[string]keys.NodeID
	gone     map[keys.NodeID]bool
	full     error // of Commit
}

func (o *office) Grant(id keys.InviteID) *keys.Grant { return o.grants[id] }
func (o *office) Receipts(id keys.InviteID) (found []*keys.Receipt) {
	for _, r := range o.receipts {
		if r.Invite == id {
			found = append(found, r)
		}
	}
	return found
}
func (o *office) Owner(name string) (keys.NodeID, bool) { id, ok := o.names[name]; return id, ok }
func (o *office) Taken(addr netip.Addr, _ keys.NodeID) bool {
	return slices.Contains(o.own.Addrs, addr)
}
func (o *office) Gone(id keys.NodeID) bool   { return o.gone[id] }
func (o *office) Member(id keys.NodeID) bool { return id == o.own.Node }
func (o *office) Commit(r *keys.Receipt, _ []byte) error {
	if o.full == nil {
		o.receipts = append(o.receipts, r)
		o.names[r.Name] = r.Node
	}
	return o.full
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newOffice() *office {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	o := &office{
		identity: must(keys.NewIdentity()), wg: must(keys.NewWGPrivate()), now: now,
		grants: map[keys.InviteID]*keys.Grant{}, names: map[string]keys.NodeID{}, gone: map[keys.NodeID]bool{},
	}
	root, recovery := must(keys.NewRoot()), must(keys.NewRoot())
	o.root = root
	genesis, _, err := keys.Found(keys.Founding{Name: "lab", Created: now}, root, recovery.Public())
	if err != nil {
		panic(err)
	}
	a := must(keys.Replay([][]byte{genesis}))
	o.ca = must(keys.NewCA(a.Network, a.Name, a.Prefixes(), o.identity.ID(), now))
	o.authority = must(a.Append(must(a.AddSigner(o.ca.Certificate(), root))))
	o.own = must(keys.ParseCertificate(must(o.ca.Issue(keys.Profile{
		Name: "founder", WG: o.wg.Public(), Since: now, NotBefore: now.Add(-backdate), NotAfter: now.Add(keys.DefaultLifetime),
		Addrs: addresses(o.authority, o.identity.ID(), func(netip.Addr) bool { return false }),
	}, o.identity.Public()))))
	o.names["founder"] = o.own.Node
	return o
}

// invite makes an invite and the code's part that matters here.
func (o *office) invite(uses uint32, ttl time.Duration) keys.JoinCode {
	code := keys.JoinCode{Network: o.authority.Network, Seed: must(keys.NewSeed()), Expires: o.now.Add(ttl)}
	inv := code.Invite()
	o.grants[inv.ID] = &keys.Grant{
		Invite: inv.ID, Key: inv.Key.Public().(ed25519.PublicKey), Uses: uses, Expires: o.now.Add(ttl), Groups: []string{"guests"}, Issued: o.now,
	}
	return code
}

func (o *office) host() Host {
	signer := &Signer{Authority: o.authority, CA: o.ca, Node: o.own.Node, WG: o.wg, Registry: o, Now: func() time.Time { return o.now }}
	return Host{
		Network: o.authority.Network, Node: o.own.Node, Identity: o.identity, Certificate: o.own.DER, Log: o.authority.Entries,
		Judge: func(_ context.Context, id keys.InviteID, joiner keys.NodeID) (Verdict, error) {
			g := o.grants[id]
			if g == nil {
				return Verdict{}, nil
			}
			return Verdict{Key: g.Key, No: Judge(g, o.Receipts(id), joiner, o.now)}, nil
		},
		Signer: func(context.Context) (keys.NodeID, keys.WGPublic, error) { return o.own.Node, o.wg.Public(), nil },
		Redeem: func(_ context.Context, _ keys.NodeID, r *Redemption) (*Issued, error) {
			// As over a call to another member.
			return signer.Redeem(must(DecodeRedemption(EncodeRedemption(r))))
		},
	}
}

func applicant(code keys.JoinCode, name string) Applicant {
	return Applicant{
		Network: code.Network, Invite: code.Invite(), Identity: must(keys.NewIdentity()), WG: must(keys.NewWGPrivate()), Name: name,
	}
}

// meet lets a joiner and a member talk; the two exporters are equal on an honest connection.
func meet(t *testing.T, h Host, a Applicant, theirs, ours []byte) (*Admission, error) {
	t.Helper()
	left, right := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- Serve(t.Context(), Session{ReadWriter: right, Exporter: theirs}, a.Identity.ID(), h)
		_ = right.Close()
	}()
	admission, err := Ask(Session{ReadWriter: left, Exporter: ours}, a)
	_ = left.Close()
	if serveErr := <-served; (serveErr == nil) != (err == nil) {
		t.Errorf("the joiner saw %v, the member %v", err, serveErr)
	}
	return admission, err
}

func exporter() []byte {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		panic(err)
	}
	return b
}

// code is what a refusal says, "" where it is none.
func code(err error) Code {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Code
	}
	return ""
}

func TestJoin(t *testing.T) {
	o := newOffice()
	jc := o.invite(1, time.Hour)
	a, ex := applicant(jc, "laptop"), exporter()
	got, err := meet(t, o.host(), a, ex, ex)
	if err != nil {
		t.Fatalf("Ask: %v", err)
	}
	own := got.Own
	if own.Name != "laptop" || own.Node != a.Identity.ID() || own.WG != a.WG.Public() || !slices.Equal(own.Groups, []string{"guests"}) {
		t.Errorf("certificate of %q with groups %q, want the joiner's own keys, its name and the invite's groups", own.Name, own.Groups)
	}
	if got.Member.Node != o.own.Node || got.Authority.Network != o.authority.Network {
		t.Error("the admission names another member or network than the one that served")
	}

	// The same host again, as after a crash: the same member, no use lost.
	again, err := meet(t, o.host(), a, ex, ex)
	if err != nil || again.Own.Name != "laptop" || !slices.Equal(again.Own.Addrs, own.Addrs) || len(o.receipts) != 1 {
		t.Errorf("repeated join: %v, %d receipts; want the same name and addresses and one receipt", err, len(o.receipts))
	}
	// Another host with the same code.
	if _, err := meet(t, o.host(), applicant(jc, "other"), ex, ex); code(err) != CodeUsed {
		t.Errorf("second host with a code for one: %v, want %q", err, CodeUsed)
	}
}

func TestJoinRefused(t *testing.T) {
	ex := exporter()
	for name, tt := range map[string]struct {
		prepare func(o *office, jc *keys.JoinCode, a *Applicant)
		theirs  []byte
		want    Code
	}{
		"unknown invite":         {prepare: func(_ *office, jc *keys.JoinCode, a *Applicant) { jc.Seed[0] ^= 1; a.Invite = jc.Invite() }, want: CodeRefused},
		"another network":        {prepare: func(_ *office, _ *keys.JoinCode, a *Applicant) { a.Network[0] ^= 1 }, want: CodeRefused},
		"invite of another seed": {prepare: func(_ *office, jc *keys.JoinCode, a *Applicant) { jc.Seed[0] ^= 1; a.Invite.Key = jc.Invite().Key }, want: CodeRefused},
		"relayed connection":     {theirs: exporter(), want: CodeRefused},
		"expired":                {prepare: func(o *office, _ *keys.JoinCode, _ *Applicant) { o.now = o.now.Add(2 * time.Hour) }, want: CodeExpired},
		"needs approval":         {prepare: func(o *office, jc *keys.JoinCode, _ *Applicant) { o.grants[jc.Invite().ID].Approve = true }, want: CodePending},
		"name taken":             {prepare: func(_ *office, _ *keys.JoinCode, a *Applicant) { a.Name, a.Explicit = "founder", true }, want: CodeName},
		"disk full":              {prepare: func(o *office, _ *keys.JoinCode, _ *Applicant) { o.full = errors.New("no space left") }, want: CodeFailed},
		"key of a member":        {prepare: func(o *office, _ *keys.JoinCode, a *Applicant) { a.Identity = o.identity }, want: CodeFailed},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice()
			jc := o.invite(1, time.Hour)
			a := applicant(jc, "laptop")
			if tt.prepare != nil {
				tt.prepare(o, &jc, &a)
			}
			theirs := ex
			if tt.theirs != nil {
				theirs = tt.theirs
			}
			got, err := meet(t, o.host(), a, theirs, ex)
			if err == nil || code(err) != tt.want {
				t.Errorf("%s: Ask = %v, %v; want the refusal %q", name, got, err, tt.want)
			}
			if len(o.receipts) != 0 {
				t.Errorf("%s: a refused join left a receipt", name)
			}
		})
	}
}

// TestSignerIsAskedAgain where its link broke, but not where it answered.
func TestSignerIsAskedAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		fail  error
		times int // that the first asks fail
		asked int
		want  Code
	}{
		"link replaced":       {errors.New("link broke"), 2, 3, ""},
		"signer gone":         {errors.New("no link"), 1000, 11, CodeFailed},
		"signer cannot":       {&link.RemoteError{Text: "disk full"}, 1000, 1, CodeFailed},
		"signer says no":      {&Refusal{Code: CodeUsed, Text: "used"}, 1000, 1, CodeUsed},
		"nothing is amiss":    {nil, 0, 1, ""},
		"once, but it counts": {errors.New("link broke"), 1, 2, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice()
			jc, ex := o.invite(1, time.Hour), exporter()
			h := o.host()
			redeem, asked := h.Redeem, 0
			h.Redeem = func(ctx context.Context, signer keys.NodeID, r *Redemption) (*Issued, error) {
				if asked++; asked <= tt.times {
					return nil, tt.fail
				}
				return redeem(ctx, signer, r)
			}
			_, err := meet(t, h, applicant(jc, "laptop"), ex, ex)
			if code(err) != tt.want || (err == nil) != (tt.want == "") || asked != tt.asked {
				t.Errorf("%s: Ask = %v after %d asks, want %q after %d", name, err, asked, tt.want, tt.asked)
			}
		})
	}
}

// TestExpelledHostStaysOut: neither a new code nor its receipt lets a host in that was revoked.
func TestExpelledHostStaysOut(t *testing.T) {
	o := newOffice()
	jc, ex := o.invite(2, time.Hour), exporter()
	a := applicant(jc, "laptop")
	if _, err := meet(t, o.host(), a, ex, ex); err != nil {
		t.Fatal(err)
	}
	o.gone[a.Identity.ID()] = true
	if _, err := meet(t, o.host(), a, ex, ex); code(err) != CodeRevoked {
		t.Errorf("with its receipt: %v, want %q", err, CodeRevoked)
	}
	a.Invite = o.invite(1, time.Hour).Invite()
	if _, err := meet(t, o.host(), a, ex, ex); code(err) != CodeRevoked {
		t.Errorf("with a new code: %v, want %q", err, CodeRevoked)
	}
}

// TestRemovedSigner: one that the log no longer names signs nothing.
func TestRemovedSigner(t *testing.T) {
	o := newOffice()
	jc, ex := o.invite(1, time.Hour), exporter()
	o.authority = must(o.authority.Append(must(o.authority.RemoveSigner(o.ca.Key(), keys.Keep{Certificates: [][32]byte{sha256.Sum256(o.own.DER)}}, o.root))))
	if _, err := meet(t, o.host(), applicant(jc, "laptop"), ex, ex); code(err) != CodeNoSigner || len(o.receipts) != 0 {
		t.Errorf("Ask = %v with %d receipts, want %q and none", err, len(o.receipts), CodeNoSigner)
	}
}

// TestLifetime: the roots decide how long certificates are valid.
func TestLifetime(t *testing.T) {
	o := newOffice()
	jc, ex := o.invite(2, time.Hour), exporter()
	for _, want := range []time.Duration{keys.DefaultLifetime, 7 * 24 * time.Hour} {
		got, err := meet(t, o.host(), applicant(jc, "laptop"), ex, ex)
		if err != nil {
			t.Fatal(err)
		}
		if life := got.Own.NotAfter.Sub(got.Own.NotBefore) - backdate; life != want {
			t.Errorf("valid for %s, want %s", life, want)
		}
		o.authority = must(o.authority.Append(must(o.authority.SetPolicy(keys.Policy{Lifetime: 7 * 24 * time.Hour}, o.root))))
	}
}

// TestLongLog: a log that needs several frames arrives.
func TestLongLog(t *testing.T) {
	o := newOffice()
	jc, ex := o.invite(1, time.Hour), exporter()
	size := 0
	kept := make([][32]byte, 100) // makes entries large
	for size < 3*partBytes {
		for i := range kept {
			kept[i] = [32]byte(exporter())
		}
		entry := must(o.authority.RemoveSigner(o.ca.Key(), keys.Keep{Certificates: kept, More: true}, o.root))
		o.authority = must(o.authority.Append(entry))
		size += len(entry)
	}
	got, err := meet(t, o.host(), applicant(jc, "laptop"), ex, ex)
	if err != nil || got.Authority.Head != o.authority.Head {
		t.Errorf("Ask = %v, want a log of %d entries", err, len(o.authority.Entries))
	}
}

// script answers a joiner with frames that a member would not send.
func script(t *testing.T, a Applicant, frames func(s Session)) error {
	t.Helper()
	left, right := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = right.Close() }()
		if _, err := link.ReadFrame(right); err == nil {
			frames(Session{ReadWriter: right, Exporter: make([]byte, 32)})
		}
	}()
	_, err := Ask(Session{ReadWriter: left, Exporter: make([]byte, 32)}, a)
	_ = left.Close()
	<-done
	return err
}

// TestHostileMember: whoever answers at an endpoint can neither fill the joiner's memory nor its terminal.
func TestHostileMember(t *testing.T) {
	o := newOffice()
	a := applicant(o.invite(1, time.Hour), "laptop")
	big := make([]byte, 60<<10)
	for name, frames := range map[string]func(s Session){
		"an endless log": func(s Session) {
			for send(s, link.KindJoinLog, part{Log: [][]byte{o.authority.Entries[0], big}}) == nil {
			}
		},
		"the log of another network": func(s Session) {
			for send(s, link.KindJoinLog, part{Log: [][]byte{big}}) == nil {
			}
		},
		"empty parts": func(s Session) {
			for send(s, link.KindJoinLog, part{}) == nil {
			}
		},
		"unknown frames": func(s Session) {
			for send(s, 99, part{}) == nil {
			}
		},
		"a welcome without a log": func(s Session) { _ = send(s, link.KindJoinWelcome, welcome{}) },
		"nothing":                 func(Session) {},
	} {
		if err := script(t, a, frames); err == nil || code(err) != "" {
			t.Errorf("%s: Ask = %v, want an error of its own", name, err)
		}
	}
	for _, tt := range []struct{ got, want Refusal }{
		{Refusal{CodeUsed, "used", "ask"}, Refusal{CodeUsed, "used", "ask"}},
		{Refusal{CodeUsed, "a\x1b[2J\nb", "\a\u202e"}, Refusal{CodeUsed, "a[2Jb", ""}},
		{Refusal{CodeUsed, "", ""}, Refusal{CodeUsed, "the network refused: used", ""}},
		{Refusal{"root", "give me your password", ""}, *refused()},
		{Refusal{CodeFailed, strings.Repeat("ä", 500), ""}, Refusal{CodeFailed, strings.Repeat("ä", maxText/2), ""}},
	} {
		err := script(t, a, func(s Session) { _ = send(s, link.KindJoinRefused, tt.got) })
		if r, ok := errors.AsType[*Refusal](err); !ok || *r != tt.want {
			t.Errorf("refusal %+v is shown as %+v, want %+v", tt.got, err, tt.want)
		}
	}
}

// patient is a session that notes until when it may be read.
type patient struct {
	net.Conn
	until time.Time
}

func (p *patient) SetReadDeadline(t time.Time) error {
	p.until = t
	return nil
}

// TestPatience: only who proved its invite gets more time.
func TestPatience(t *testing.T) {
	o := newOffice()
	jc, ex := o.invite(1, time.Hour), exporter()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	want, _ := ctx.Deadline()
	for _, good := range []bool{false, true} {
		a := applicant(jc, "laptop")
		if !good {
			a.Network[0] ^= 1
		}
		left, right := net.Pipe()
		p := &patient{Conn: right}
		served := make(chan error, 1)
		go func() { served <- Serve(ctx, Session{ReadWriter: p, Exporter: ex}, a.Identity.ID(), o.host()) }()
		_, err := Ask(Session{ReadWriter: left, Exporter: ex}, a)
		if served := <-served; (err == nil) != good || (served == nil) != good || p.until.Equal(want) != good {
			t.Errorf("proved: %v; Ask = %v, Serve = %v, read deadline %s", good, err, served, p.until)
		}
	}
}

// TestNameTakenGetsNumber: a name that nobody asked for by hand is changed rather than refused.
func TestNameTakenGetsNumber(t *testing.T) {
	o := newOffice()
	jc, ex := o.invite(2, time.Hour), exporter()
	for _, want := range []string{"founder-2", "founder-3"} {
		got, err := meet(t, o.host(), applicant(jc, "founder"), ex, ex)
		if err != nil || got.Own.Name != want {
			t.Fatalf("join as founder: %v, want the name %q", err, want)
		}
	}
}

// TestJoinerChecksTheNetwork: a member of another network cannot pass for one of ours, even if it knows the invite.
func TestJoinerChecksTheNetwork(t *testing.T) {
	ours, theirs := newOffice(), newOffice()
	jc, ex := ours.invite(1, time.Hour), exporter()
	theirs.grants = ours.grants
	h := theirs.host()
	h.Network = ours.authority.Network // claims to be ours
	if got, err := meet(t, h, applicant(jc, "laptop"), ex, ex); err == nil || code(err) != "" {
		t.Errorf("Ask = %v, %v; want an error of our own check", got, err)
	}
}

// TestRefusalsTellNothing: whoever did not prove an invite gets the same bytes, whether it exists or not.
func TestRefusalsTellNothing(t *testing.T) {
	o := newOffice()
	jc := o.invite(1, -time.Hour)
	var answers [][]byte
	for _, id := range []keys.InviteID{jc.Invite().ID, {1}} {
		left, right := net.Pipe()
		go func() {
			_ = Serve(t.Context(), Session{ReadWriter: right, Exporter: exporter()}, keys.NodeID{9}, o.host())
			_ = right.Close()
		}()
		if err := send(left, link.KindJoinProve, prove{Invite: id, Signature: make([]byte, 64)}); err != nil {
			t.Fatal(err)
		}
		f, err := link.ReadFrame(left)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, f.Body)
	}
	if !bytes.Equal(answers[0], answers[1]) {
		t.Errorf("an existing invite is answered %q, another %q", answers[0], answers[1])
	}
}

// FuzzMessages: what can be read of a message is written back as the same bytes.
func FuzzMessages(f *testing.F) {
	f.Add(EncodeRedemption(&Redemption{CSR: []byte{1}, Exporter: []byte{2}}))
	f.Add(EncodeAnswer(&Issued{Certificate: []byte{1}, Items: []Item{{Kind: 2, Body: []byte{3}}}}, nil))
	f.Add(EncodeAnswer(nil, refused()))
	for _, m := range []any{
		prove{Signature: []byte{1}},
		welcome{Log: [][]byte{{1}, {2}}, Certificate: []byte{3}},
		part{Log: [][]byte{{1}}},
		ask{CSR: []byte{1}, Explicit: true},
		Issued{Certificate: []byte{1}, Unix: 1 << 40},
		refused(),
	} {
		f.Add(encode(m))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if r, err := DecodeRedemption(in); err == nil && !bytes.Equal(EncodeRedemption(r), in) {
			t.Errorf("redemption %x is written back as %x", in, EncodeRedemption(r))
		}
		if i, err := DecodeAnswer(in); err == nil && !bytes.Equal(EncodeAnswer(i, nil), in) {
			t.Errorf("answer %x is written back as %x", in, EncodeAnswer(i, nil))
		}
		for _, m := range []any{new(prove), new(welcome), new(part), new(ask), new(Issued), new(Refusal)} {
			if err := decode(in, m); err == nil && !bytes.Equal(encode(m), in) {
				t.Errorf("%T %x is written back as %x", m, in, encode(m))
			}
			if r, ok := m.(*Refusal); ok {
				if p := r.plain(); *p.plain() != *p || p.Text == "" || len(p.Text) > maxText || len(p.Hint) > maxText {
					t.Errorf("refusal %+v is shown as %+v", r, p)
				}
			}
		}
	})
}
