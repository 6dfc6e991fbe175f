package state

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"warren/mesh/gossip"
)

// The mirror is a copy of the store in one file: CBOR [1, SHA-256 of list, list], where list is the encoding of an
// array of [kind, subject, seq, body].

type (
	mirrorHead struct {
		_       struct{} `cbor:",toarray"`
		Version uint8
		Sum     []byte
		List    []byte
	}
	mirrorItem struct {
		_       struct{} `cbor:",toarray"`
		Kind    gossip.Kind
		Subject []byte
		Seq     uint64
		Body    []byte
	}
)

var errMirror = errors.New("damaged or of another version")

func encodeMirror(items []*gossip.Item) ([]byte, error) {
	list := make([]mirrorItem, len(items))
	for i, it := range items {
		list[i] = mirrorItem{Kind: it.Kind, Subject: it.Subject[:], Seq: it.Seq, Body: it.Body}
	}
	b, err := cbor.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("state: encoding the mirror: %w", err)
	}
	sum := sha256.Sum256(b)
	b, err = cbor.Marshal(mirrorHead{Version: 1, Sum: sum[:], List: b})
	if err != nil {
		return nil, fmt.Errorf("state: encoding the mirror: %w", err)
	}
	return b, nil
}

// decodeMirror returns all items or, if anything is wrong, none.
func decodeMirror(b []byte) ([]*gossip.Item, error) {
	dec, err := cbor.DecOptions{
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden, MaxArrayElements: maxFile / 64, MaxNestedLevels: 4,
	}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("state: decoding the mirror: %w", err)
	}
	var head mirrorHead
	var list []mirrorItem
	if err := dec.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("state: decoding the mirror: %w: %w", errMirror, err)
	}
	if sum := sha256.Sum256(head.List); head.Version != 1 || string(head.Sum) != string(sum[:]) {
		return nil, fmt.Errorf("state: decoding the mirror: %w", errMirror)
	}
	if err := dec.Unmarshal(head.List, &list); err != nil {
		return nil, fmt.Errorf("state: decoding the mirror: %w: %w", errMirror, err)
	}
	items := make([]*gossip.Item, len(list))
	for i, m := range list {
		if len(m.Subject) != 32 {
			return nil, fmt.Errorf("state: decoding the mirror: item %d: %w", i, errMirror)
		}
		items[i] = &gossip.Item{Key: gossip.Key{Kind: m.Kind, Subject: [32]byte(m.Subject)}, Seq: m.Seq, Body: m.Body}
		if !items[i].Valid() {
			return nil, fmt.Errorf("state: decoding the mirror: item %d: %w", i, errMirror)
		}
	}
	return items, nil
}
