package sim

import "hash/crc32"

// what happens at an event.
const (
	evWake    = iota // a core asked for it
	evDeliver        // body arrives at node from peer on a link
	evDialled        // the dial of node to peer ends, well or not
	evHungUp         // peer ended the link on purpose
	evExpire         // a cut link between node and peer fails
	evCall           // the scenario's function runs
)

// event is an entry of the heap; it holds no pointer to what it concerns but the body and the function.
type event struct {
	at         int64 // virtual nanoseconds
	seq        uint64
	kind       uint8
	node, peer int32
	link       uint64 // the link's generation; events of older ones are void
	body       []byte
	call       func()
}

// queue is a heap of four branches by (at, seq), without interfaces and boxes, and with it the virtual time.
type queue struct {
	heap  []event
	seq   uint64
	now   int64
	trace uint64 // hash of all events so far
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// next returns the next event until a time, which is then now.
func (q *queue) next(until int64) (e event, ok bool) {
	if len(q.heap) == 0 || q.heap[0].at > until {
		q.now = max(q.now, until)
		return event{}, false
	}
	e = q.pop()
	q.now = e.at
	q.mix(uint64(e.at))
	q.mix(uint64(e.kind)<<56 | uint64(uint32(e.node))<<24 ^ uint64(uint32(e.peer)))
	q.mix(uint64(crc32.Update(0, castagnoli, e.body))<<32 | uint64(len(e.body)))
	return e, true
}

func (q *queue) mix(v uint64) {
	q.trace = (q.trace ^ v) * 0x9E3779B97F4A7C15
	q.trace ^= q.trace >> 29
}

func (q *queue) less(i, j int) bool {
	a, b := &q.heap[i], &q.heap[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *queue) push(e event) {
	q.seq++
	e.seq = q.seq
	q.heap = append(q.heap, e)
	for i := len(q.heap) - 1; i > 0; {
		up := (i - 1) / 4
		if !q.less(i, up) {
			break
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

func (q *queue) pop() event {
	top := q.heap[0]
	last := len(q.heap) - 1
	q.heap[0] = q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	for i := 0; ; {
		least := i
		for c := 4*i + 1; c <= 4*i+4 && c < last; c++ {
			if q.less(c, least) {
				least = c
			}
		}
		if least == i {
			return top
		}
		q.heap[i], q.heap[least] = q.heap[least], q.heap[i]
		i = least
	}
}
