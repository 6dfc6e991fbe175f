package nat

import (
	"net/netip"
	"testing"

	"golang.zx2c4.com/wireguard/conn"

	"warren/nat/demux"
	"warren/nat/peers"
)

// pair is a bind and an endpoint on it for every benchmark below: plain StdNetBind, and ours over the same sockets.
type pair struct {
	name string
	make func(b *testing.B) (conn.Bind, uint16)
	to   func(b *testing.B, bind conn.Bind, port uint16) conn.Endpoint
}

func pairs() []pair {
	loopback := func(port uint16) string {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port).String()
	}
	return []pair{
		{
			"std", func(*testing.B) (conn.Bind, uint16) { return conn.NewStdNetBind(), 0 },
			func(b *testing.B, bind conn.Bind, port uint16) conn.Endpoint {
				ep, err := bind.ParseEndpoint(loopback(port))
				if err != nil {
					b.Fatal(err)
				}
				return ep
			},
		},
		{"warren", func(b *testing.B) (conn.Bind, uint16) {
			s := New(Config{})
			port, err := s.Open()
			if err != nil {
				b.Fatal(err)
			}
			return s.ConnBind(), port
		}, func(b *testing.B, bind conn.Bind, port uint16) conn.Endpoint {
			w := bind.(*Bind)
			peer := w.roster.ensure([32]byte{1})
			peer.Watch(true)
			src := w.sources.Intern(peers.Direct(Flow{Remote: addr(loopback(port))}))
			src.Bind(peer.Peer)
			peer.Choose(src)
			return peer.Endpoint()
		}},
	}
}

// BenchmarkBind sends batches of full packets over loopback and receives them, in one goroutine. One op is one packet.
func BenchmarkBind(b *testing.B) {
	for _, p := range pairs() {
		b.Run(p.name, func(b *testing.B) {
			open := func() (conn.Bind, []conn.ReceiveFunc, uint16) {
				bind, _ := p.make(b)
				fns, port, err := bind.Open(0)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = bind.Close() })
				return bind, fns, port
			}
			from, _, fromPort := open()
			to, fns, toPort := open()
			ep := p.to(b, from, toPort)
			p.to(b, to, fromPort) // the receiver knows the sender
			const size, many = 1420, 32
			bufs := make([][]byte, many)
			for i := range bufs {
				bufs[i] = make([]byte, size, 65535)
				bufs[i][0] = demux.TypeTransport
			}
			in := &batch{sizes: make([]int, conn.IdealBatchSize), eps: make([]conn.Endpoint, conn.IdealBatchSize)}
			for range conn.IdealBatchSize {
				in.bufs = append(in.bufs, make([]byte, 65535))
			}
			b.SetBytes(size)
			b.ReportAllocs()
			for n := 0; n < b.N; n += many {
				if err := from.Send(bufs, ep); err != nil {
					b.Fatal(err)
				}
				for got := 0; got < many; {
					n, err := fns[0](in.bufs, in.sizes, in.eps)
					if err != nil {
						b.Fatal(err)
					}
					for _, size := range in.sizes[:n] {
						if size > 0 {
							got++
						}
					}
				}
			}
		})
	}
}
