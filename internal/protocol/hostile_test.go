package protocol_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/protocol"
)

// A decoder reads one kind of message, and encodes it again.
type decoder struct {
	name   string
	decode func(body []byte) (again []byte, err error)
}

func decoders() []decoder {
	return []decoder{
		{"answer", func(b []byte) ([]byte, error) { return again(protocol.DecodeAnswer(b)) }},
		{"refusal", func(b []byte) ([]byte, error) { return again(protocol.DecodeRefusal(b)) }},
		{"key", func(b []byte) ([]byte, error) { return again(protocol.DecodeKeyInfo(b)) }},
		{"record", func(b []byte) ([]byte, error) { return again(protocol.DecodeRecord(b)) }},
		{"details", func(b []byte) ([]byte, error) { return again(protocol.DecodeDetails(b)) }},
		{"request", func(b []byte) ([]byte, error) { _, err := protocol.Open(b); return b, err }},
		{"found", func(b []byte) ([]byte, error) {
			list, err := protocol.DecodeFound(b, 3)
			if err != nil {
				return nil, err
			}
			return protocol.EncodeFound(list)
		}},
	}
}

func again[M interface{ Encode() ([]byte, error) }](m M, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return m.Encode()
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// variants are encodings of the refusal {1: "busy", 2: "x"} that are not the one.
func variants() map[string]string {
	return map[string]string{
		"other order":         "a2 02 6178 01 6462757379",
		"key twice":           "a3 01 6462757379 01 6462757379 02 6178",
		"unknown key":         "a3 01 6462757379 02 6178 03 00",
		"wide key":            "a2 1801 6462757379 02 6178",
		"wide length":         "a2 01 780462757379 02 6178",
		"wide map":            "b802 01 6462757379 02 6178",
		"indefinite map":      "bf 01 6462757379 02 6178 ff",
		"indefinite text":     "a2 01 7f6462757379ff 02 6178",
		"bytes for text":      "a2 01 4462757379 02 6178",
		"text key":            "a2 6131 6462757379 02 6178",
		"null":                "a2 01 6462757379 02 f6",
		"undefined":           "a2 01 6462757379 02 f7",
		"tag":                 "c0 a2 01 6462757379 02 6178",
		"tag inside":          "a2 01 c06462757379 02 6178",
		"self-described":      "d9d9f7 a2 01 6462757379 02 6178",
		"missing key":         "a1 01 6462757379",
		"trailing byte":       "a2 01 6462757379 02 6178 00",
		"two items":           "a2 01 6462757379 02 6178 a2 01 6462757379 02 6178",
		"not UTF-8":           "a2 01 6462757379 02 61ff",
		"two lines":           "a2 01 6462757379 02 610a",
		"escape":              "a2 01 6462757379 02 611b",
		"reordered text":      "a2 01 6462757379 02 63e280ae",
		"number for text":     "a2 01 6462757379 02 00",
		"no code":             "a2 01 60 02 6178",
		"code of other bytes": "a2 01 6442757379 02 6178",
		"array":               "82 6462757379 6178",
		"null message":        "f6",
		"nothing":             "",
		"reserved":            "a2 01 6462757379 02 1c",
		"simple value":        "a2 01 6462757379 02 f800",
	}
}

func TestOtherEncodings(t *testing.T) {
	if r, err := protocol.DecodeRefusal(unhex(t, "a2 01 6462757379 02 6178")); err != nil || r.Message != "x" {
		t.Fatalf("%+v, %v", r, err)
	}
	for name, text := range variants() {
		if r, err := protocol.DecodeRefusal(unhex(t, text)); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// claimed are short messages whose lengths promise much, or that nest deeply.
func claimed() []string {
	return []string{
		"5b ffffffffffffffff", "5b 7fffffffffffffff", "5a 7fffffff", "7b ffffffffffffffff", "9b ffffffffffffffff",
		"9a 7fffffff", "bb ffffffffffffffff", "ba 7fffffff", "99 0400", "a1 03 9a 00ffffff", "a1 03 99 0400", "a1 01 5a 7fffffff",
		"82 5a 000fffff 58 40", "82 5b 0000000100000000", "b9 0020", "9f ff", "5f ff", "bf ff",
		strings.Repeat("81", 1<<16), strings.Repeat("a101", 1<<15), strings.Repeat("a10381", 1<<14), strings.Repeat("9f", 1<<16), strings.Repeat("c0", 1<<16),
	}
}

// TestLengthsAreNotBelieved reads short messages that announce long ones. Memory must depend
// on what is there.
func TestLengthsAreNotBelieved(t *testing.T) {
	for _, text := range claimed() {
		body := unhex(t, text)
		for _, d := range decoders() {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := d.decode(body)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, protocol.ErrMalformed) {
				t.Errorf("%s %.20s: %v", d.name, text, err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<17 {
				t.Errorf("%s %.20s: %d bytes were allocated", d.name, text, n)
			}
		}
	}
}

// TestLargeMessages checks that what is too large is refused before it is read, and that the
// largest needs a multiple of its size.
func TestLargeMessages(t *testing.T) {
	for _, d := range decoders() {
		var before, after runtime.MemStats
		body := make([]byte, protocol.MaxAnswer+1)
		runtime.ReadMemStats(&before)
		_, err := d.decode(body)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, protocol.ErrMalformed) || n > 1<<16 {
			t.Errorf("%s: %v, %d bytes", d.name, err, n)
		}
	}
	r := request()
	r.Origins[0].Header = make([]byte, protocol.MaxBody-1000)
	body, err := protocol.Seal(r, key(1))
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = protocol.Open(body)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err != nil || n > 12*protocol.MaxBody {
		t.Errorf("%v, %d bytes for %d", err, n, len(body))
	}
}

// TestRequestsWithOneEncoding checks that a request cannot say the same in two ways.
func TestRequestsWithOneEncoding(t *testing.T) {
	two := func(r *protocol.Request) {
		r.Origins = append(r.Origins, protocol.Origin{Container: "rpm", Name: []byte("other.rpm")})
	}
	for name, change := range map[string]func(*protocol.Request){
		"container without a claim": two,
		"other order":               func(r *protocol.Request) { two(r); r.Claims[0].Origin = 1 },
		"containers alone":          func(r *protocol.Request) { r.Claims = nil },
		"claims alone":              func(r *protocol.Request) { r.Origins = nil },
		"path as a key":             func(r *protocol.Request) { r.Key = "../image" },
		"hidden key":                func(r *protocol.Request) { r.Key = ".image" },
		"key like an option":        func(r *protocol.Request) { r.Key = "-image" },
		"key of other letters":      func(r *protocol.Request) { r.Key = "im\u0430ge" },
		"audience with a space":     func(r *protocol.Request) { r.Audience = "a b:1" },
		"before 1970":               func(r *protocol.Request) { r.Time = -1 },
		"after 9999":                func(r *protocol.Request) { r.Time = 253402300800 },
		"time that overflows":       func(r *protocol.Request) { r.Time = math.MaxInt64 },
		"fs-verity by SHA-384":      func(r *protocol.Request) { r.Type, r.Signature, r.Hash, r.Digests = 6, 3, 5, make([]byte, 96) },
	} {
		r := request()
		change(r)
		if _, err := protocol.Seal(r, key(1)); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	empty, null := request(), request()
	empty.Claims, empty.Origins = []protocol.Claim{}, []protocol.Origin{}
	null.Claims, null.Origins = nil, nil
	one, err := protocol.Seal(empty, key(1))
	if err != nil {
		t.Fatal(err)
	}
	if other, err := protocol.Seal(null, key(1)); err != nil || !bytes.Equal(one, other) {
		t.Errorf("empty and absent lists differ: %v", err)
	}
}

// TestEveryRefusalTravels encodes messages with bytes from outside.
func TestEveryRefusalTravels(t *testing.T) {
	for _, text := range []string{"", "\xff\x1b[2J\nusr/bin/\u202ex\x00", strings.Repeat("\xff", 1<<20), strings.Repeat("…", 1<<16)} {
		body, err := protocol.Refuse(protocol.NoRule, "%s", text).Encode()
		if err != nil {
			t.Fatal(err)
		}
		if r, err := protocol.DecodeRefusal(body); err != nil || len(r.Message) > protocol.MaxMessage {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}
