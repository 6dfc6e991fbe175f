package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
)

// A bbolt file is read as it lies in memory, and bbolt trusts it: a page that is its own child, or a free list that
// claims to be huge, takes all memory or the whole stack, which no recover catches. So the structure is checked first.
// It is, in the byte order of the machine: pages, each with id 8, flags 2, count 2, overflow 4 (pages more that belong
// to it); two of them meta pages, the newer valid one of which counts.
const (
	branchPage  = 0x01
	leafPage    = 0x02
	freePage    = 0x10
	headSize    = 16 // of a page, and of each element of a tree
	metaSize    = 64
	metaMagic   = 0xED0CDAED
	noFreeList  = 1<<64 - 1
	maxDepth    = 32
	minPageSize = 1 << 10
	maxPageSize = 1 << 24
)

// pages are those of a file.
type pages struct {
	file *os.File
	len  uint64          // of the file
	size uint64          // of a page
	top  uint64          // one more than the highest page in use
	seen map[uint64]bool // pages of a tree or of the free list
}

// checkPages returns an error wrapping errDamaged unless every page of the database has its place. A file of no bytes
// is a new database.
func checkPages(file *os.File) error {
	info, err := file.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return damage("not a plain file")
	case info.Size() == 0:
		return nil
	}
	p := &pages{file: file, len: uint64(info.Size()), seen: map[uint64]bool{}}
	root, free, err := p.meta()
	if err != nil {
		return err
	}
	if err := p.tree(root, 0, new([]byte)); err != nil {
		return err
	}
	return p.freeList(free)
}

func damage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

// meta finds the meta page that counts.
func (p *pages) meta() (root, free uint64, err error) {
	for at := uint64(0); p.size == 0 && at <= maxPageSize; at = max(2*at, minPageSize) {
		if m := p.metaAt(at); m != nil {
			p.size = uint64(binary.NativeEndian.Uint32(m[8:]))
		}
	}
	if p.size < minPageSize || p.size > maxPageSize || p.size%8 != 0 {
		return 0, 0, damage("no meta page")
	}
	m, other := p.metaAt(0), p.metaAt(p.size)
	newer := func(a, b []byte) bool { return binary.NativeEndian.Uint64(a[48:]) > binary.NativeEndian.Uint64(b[48:]) }
	if m == nil || other != nil && newer(other, m) {
		m = other
	}
	if m == nil {
		return 0, 0, damage("no meta page")
	}
	p.top = min(binary.NativeEndian.Uint64(m[40:]), p.len/p.size)
	return binary.NativeEndian.Uint64(m[16:]), binary.NativeEndian.Uint64(m[32:]), nil
}

// metaAt reads the meta page at an offset, nil if there is no valid one.
func (p *pages) metaAt(at uint64) []byte {
	m := make([]byte, metaSize)
	if _, err := p.file.ReadAt(m, int64(at)+headSize); err != nil {
		return nil
	}
	sum := fnv.New64a()
	_, _ = sum.Write(m[:56])
	if binary.NativeEndian.Uint32(m) != metaMagic || binary.NativeEndian.Uint64(m[56:]) != sum.Sum64() {
		return nil
	}
	return m
}

// page reads a page with all that belongs to it. No page is in two places.
func (p *pages) page(id uint64) (b []byte, flags uint16, count int, err error) {
	if id < 2 || id >= p.top {
		return nil, 0, 0, damage("page %d of %d", id, p.top)
	}
	head := make([]byte, headSize)
	if _, err := p.file.ReadAt(head, int64(id*p.size)); err != nil {
		return nil, 0, 0, err
	}
	span := 1 + uint64(binary.NativeEndian.Uint32(head[12:]))
	if got := binary.NativeEndian.Uint64(head); got != id || span > p.top-id {
		return nil, 0, 0, damage("page %d says that it is %d, %d pages long", id, got, span)
	}
	for i := range span {
		if p.seen[id+i] {
			return nil, 0, 0, damage("page %d is in two places", id+i)
		}
		p.seen[id+i] = true
	}
	b = make([]byte, span*p.size)
	if _, err := p.file.ReadAt(b, int64(id*p.size)); err != nil {
		return nil, 0, 0, err
	}
	return b, binary.NativeEndian.Uint16(b[8:]), int(binary.NativeEndian.Uint16(b[10:])), nil
}

// tree walks the pages of a bucket. last is the key before them.
func (p *pages) tree(id uint64, depth int, last *[]byte) error {
	b, flags, count, err := p.page(id)
	if err != nil {
		return err
	}
	switch {
	case depth > maxDepth, flags != branchPage && flags != leafPage, flags == branchPage && count == 0:
		return damage("page %d at depth %d has flags %x and %d elements", id, depth, flags, count)
	case flags == leafPage:
		return p.leaf(b, count, depth, last)
	}
	for i := range count {
		element := b[min(len(b), headSize*(1+i)):]
		if len(element) < headSize {
			return damage("page %d is short of element %d", id, i)
		}
		key, _ := cut(element, 0, 4, 0)
		if key == nil {
			return damage("page %d has a bad key", id)
		}
		if err := p.tree(binary.NativeEndian.Uint64(element[8:]), depth+1, last); err != nil {
			return err
		}
	}
	return nil
}

// leaf looks at the rows of a page: keys ascend, and those that are buckets lead to trees.
func (p *pages) leaf(b []byte, count, depth int, last *[]byte) error {
	for i := range count {
		element := b[min(len(b), headSize*(1+i)):]
		if len(element) < headSize {
			return damage("a page is short of row %d", i)
		}
		key, value := cut(element, 4, 8, 12)
		if key == nil || bytes.Compare(key, *last) <= 0 {
			return damage("keys do not ascend")
		}
		*last = key
		if binary.NativeEndian.Uint32(element)&1 == 0 {
			continue
		}
		if len(value) < 16 {
			return damage("a bucket of %d bytes", len(value))
		}
		var err error
		if root := binary.NativeEndian.Uint64(value); root != 0 {
			err = p.tree(root, depth+1, new([]byte))
		} else if inline := value[16:]; len(inline) < headSize || binary.NativeEndian.Uint16(inline[8:]) != leafPage {
			err = damage("an inline bucket of %d bytes", len(inline))
		} else {
			err = p.leaf(inline, int(binary.NativeEndian.Uint16(inline[10:])), maxDepth, new([]byte))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cut returns an element's key and what follows it; the numbers say where their place and lengths stand. The key is
// nil if they are empty or not within the page.
func cut(element []byte, pos, keyLen, valueLen int) (key, value []byte) {
	at, n, m := uint64(binary.NativeEndian.Uint32(element[pos:])), uint64(binary.NativeEndian.Uint32(element[keyLen:])), uint64(0)
	if valueLen > 0 {
		m = uint64(binary.NativeEndian.Uint32(element[valueLen:]))
	}
	if at < headSize || n == 0 || at+n+m > uint64(len(element)) {
		return nil, nil
	}
	return element[at : at+n], element[at+n : at+n+m]
}

// freeList checks that no free page is in use.
func (p *pages) freeList(id uint64) error {
	if id == noFreeList { // another program wrote it; bbolt would build one in a goroutine, whose panic nobody catches
		return damage("no list of free pages")
	}
	b, flags, n, err := p.page(id)
	if err != nil {
		return err
	}
	ids, count := b[headSize:], uint64(n)
	if n == 0xFFFF {
		ids, count = ids[8:], binary.NativeEndian.Uint64(ids)
	}
	if flags != freePage || count > uint64(len(ids)/8) {
		return damage("a list of free pages with flags %x and %d lines", flags, count)
	}
	for i := range count {
		free := binary.NativeEndian.Uint64(ids[8*i:])
		if free < 2 || free >= p.top || p.seen[free] {
			return damage("page %d of %d is free, and is in use or is none", free, p.top)
		}
		p.seen[free] = true
	}
	return nil
}
