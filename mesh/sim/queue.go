package sim

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

// queue is a heap of four branches by (at, seq), without interfaces and boxes.
type queue struct {
	heap []event
	seq  uint64
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
