package protocol_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/imasign/imasign-build/internal/protocol"
)

// record returns the record of a granted request.
func record() *protocol.Record {
	return &protocol.Record{
		Version: 1, Time: 1700000001, Requester: "ci", RequesterKey: request().Requester, ID: request().ID, Key: "image",
		SPKI: make([]byte, 32), Type: 3, Signature: 2, Hash: 4, Digests: 2, Rule: "images", Root: make([]byte, 32), Details: make([]byte, 32),
	}
}

// refused changes a record into that of a refused request.
func refused(r *protocol.Record) { r.Rule, r.Root, r.Refusal = "", nil, protocol.Quota }

func TestRecords(t *testing.T) {
	for name, change := range map[string]func(*protocol.Record){
		"granted":     func(*protocol.Record) {},
		"refused":     refused,
		"no such key": func(r *protocol.Record) { refused(r); r.SPKI, r.Refusal = nil, protocol.UnknownKey },
		"counted":     func(r *protocol.Record) { refused(r); r.More = math.MaxUint64 },
		"most manifests": func(r *protocol.Record) {
			for range protocol.MaxDigests {
				r.Manifests = append(r.Manifests, make([]byte, 32))
			}
		},
	} {
		r := record()
		change(r)
		body, err := r.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := protocol.DecodeRecord(body); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if again, err := got.Encode(); err != nil || !bytes.Equal(again, body) {
			t.Errorf("%s: another encoding: %v", name, err)
		}
	}
}

func TestRecordsThatSayNothing(t *testing.T) {
	for name, change := range map[string]func(*protocol.Record){
		"version":              func(r *protocol.Record) { r.Version = 2 },
		"time":                 func(r *protocol.Record) { r.Time = math.MinInt64 },
		"two lines":            func(r *protocol.Record) { r.Requester = "ci\nroot" },
		"short root":           func(r *protocol.Record) { r.Root = r.Root[1:] },
		"no root":              func(r *protocol.Record) { r.Root = nil },
		"no rule":              func(r *protocol.Record) { r.Rule = "" },
		"no digests":           func(r *protocol.Record) { r.Digests = 0 },
		"too many digests":     func(r *protocol.Record) { r.Digests = 1025 },
		"short details":        func(r *protocol.Record) { r.Details = nil },
		"short manifest":       func(r *protocol.Record) { r.Manifests = [][]byte{{1}} },
		"granted and refused":  func(r *protocol.Record) { r.Refusal = protocol.Quota },
		"refused with a root":  func(r *protocol.Record) { refused(r); r.Root = make([]byte, 32) },
		"refused for no code":  func(r *protocol.Record) { refused(r); r.Refusal = "NO" },
		"granted with others":  func(r *protocol.Record) { r.More = 1 },
		"short key":            func(r *protocol.Record) { refused(r); r.SPKI = []byte{1} },
		"requester's key":      func(r *protocol.Record) { r.RequesterKey = nil },
		"id":                   func(r *protocol.Record) { r.ID = nil },
		"name of the key":      func(r *protocol.Record) { r.Key = "" },
		"rule with an escape":  func(r *protocol.Record) { r.Rule = "\x1b[2J" },
		"too many of manifest": func(r *protocol.Record) { r.Manifests = make([][]byte, 3000) },
	} {
		r := record()
		change(r)
		if _, err := r.Encode(); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDetails(t *testing.T) {
	r := request()
	good := protocol.Details{Version: 1, Digests: r.Digests, Leaves: make([]byte, 64), Origins: r.Origins, Claims: r.Claims}
	body, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if d, err := protocol.DecodeDetails(body); err != nil || len(d.Claims) != 2 {
		t.Errorf("%+v, %v", d, err)
	}
	for name, change := range map[string]func(*protocol.Details){
		"version":     func(d *protocol.Details) { d.Version = 0 },
		"half a leaf": func(d *protocol.Details) { d.Leaves = make([]byte, 48) },
		"many leaves": func(d *protocol.Details) { d.Leaves = make([]byte, 1025*32) },
		"header":      func(d *protocol.Details) { d.Origins = []protocol.Origin{{Container: "rpm", Header: []byte{1}}} },
		"no origin":   func(d *protocol.Details) { d.Origins = nil },
	} {
		d := good
		change(&d)
		if _, err := d.Encode(); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyInfos(t *testing.T) {
	good := protocol.KeyInfo{Version: 1, Name: "image", SPKI: []byte{1}, Log: "signer.example.com+1234abcd+AQ"}
	body, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if k, err := protocol.DecodeKeyInfo(body); err != nil || k.Log != good.Log {
		t.Errorf("%+v, %v", k, err)
	}
	for name, change := range map[string]func(*protocol.KeyInfo){
		"version":   func(k *protocol.KeyInfo) { k.Version = 3 },
		"name":      func(k *protocol.KeyInfo) { k.Name = "a/b" },
		"no key":    func(k *protocol.KeyInfo) { k.SPKI = nil },
		"two lines": func(k *protocol.KeyInfo) { k.Log = "a\nb" },
	} {
		k := good
		change(&k)
		if _, err := k.Encode(); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFound(t *testing.T) {
	body, err := protocol.EncodeFound([]int64{0, -1, math.MaxInt64})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := protocol.DecodeFound(body, 3); err != nil || list[1] != -1 || list[2] != math.MaxInt64 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := protocol.DecodeFound(body, 2); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("for two leaves: %v", err)
	}
	if _, err := protocol.EncodeFound([]int64{-2}); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("-2: %v", err)
	}
	if body, err := protocol.EncodeFound(make([]int64, protocol.MaxFind)); err != nil {
		t.Error(err)
	} else if _, err := protocol.DecodeFound(body, protocol.MaxFind); err != nil {
		t.Error(err)
	}
}
