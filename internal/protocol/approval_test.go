package protocol_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

func approval() *protocol.Approval {
	key, list := sha256.Sum256([]byte("key")), sha256.Sum256([]byte("manifest"))
	return &protocol.Approval{
		Version: protocol.Version, SPKI: key[:], Type: 3, Signature: 2, Hash: uint8(ima.SHA256),
		Manifest: list[:], Origin: "router 2.1", Made: 1700000000, NotAfter: 1800000000,
	}
}

// approvalVector is the approval above with the signature 010203.
const approvalVector = "825867a90101025820" + "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683" + "030304020504" +
	"065820" + "05b3abf2579a5eb66403cd78be557fd860633a1fe2103c7642030defe32c657f" +
	"076a726f7574657220322e31081a6553f100091a6b49d20043010203"

func sealApproval(t testing.TB, a *protocol.Approval) (file, message []byte) {
	t.Helper()
	file, err := protocol.SealApproval(a, func(m []byte) ([]byte, error) { message = m; return []byte{1, 2, 3}, nil })
	if err != nil {
		t.Fatal(err)
	}
	return file, message
}

func TestApprovals(t *testing.T) {
	file, message := sealApproval(t, approval())
	if hex.EncodeToString(file) != approvalVector {
		t.Errorf("the encoding is %x", file)
	}
	a, again, signature, err := protocol.OpenApproval(file)
	if err != nil || a.Origin != "router 2.1" || !bytes.Equal(again, message) || !bytes.Equal(signature, []byte{1, 2, 3}) {
		t.Errorf("got %+v, %q, %x, %v", a, again, signature, err)
	}
	if !bytes.HasPrefix(message, []byte("imasign-build approval v1\n")) {
		t.Errorf("what is signed begins with %q", message[:40])
	}
	failed := errors.New("failed")
	if _, err := protocol.SealApproval(approval(), func([]byte) ([]byte, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	if _, err := protocol.SealApproval(approval(), func([]byte) ([]byte, error) { return nil, nil }); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("without a signature: %v", err)
	}
	if _, err := protocol.SealApproval(approval(), func([]byte) ([]byte, error) { return make([]byte, protocol.MaxApproval), nil }); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("too long: %v", err)
	}
}

// FuzzOpenApproval reads any bytes as an approval, which has only one encoding.
func FuzzOpenApproval(f *testing.F) {
	file, _ := sealApproval(f, approval())
	f.Add(file)
	for _, body := range seeds(f) {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		a, _, signature, err := protocol.OpenApproval(file)
		if err != nil {
			if !errors.Is(err, protocol.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		again, err := protocol.SealApproval(a, func([]byte) ([]byte, error) { return signature, nil })
		if err != nil || !bytes.Equal(again, file) {
			t.Fatalf("%x is read as %x, %v", file, again, err)
		}
	})
}
