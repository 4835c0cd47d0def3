package protocol_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/imasign/imasign-build/internal/protocol"
)

const vectorFile = "testdata/vectors.json"

// vectors are messages by fixed keys, in hex. docs/protocol.md explains them.
type vectors struct {
	Comment      string       `json:"comment"`
	Requester    keyVector    `json:"requester"`
	Key          keyVector    `json:"key"`
	Log          keyVector    `json:"log"`
	LogKey       string       `json:"log_key"`
	Requests     []reqVector  `json:"requests"`
	Answers      []bodyVector `json:"answers"`
	Records      []recVector  `json:"records"`
	Leaves       []leafVector `json:"leaves"`
	Roots        []rootVector `json:"roots"`
	Refusals     []refVector  `json:"refusals"`
	KeyInfos     []bodyVector `json:"keys"`
	Found        []bodyVector `json:"found"`
	Approver     keyVector    `json:"approver"`
	Approvals    []bodyVector `json:"approvals"`
	NotCanonical []bodyVector `json:"malformed_refusals"`
	NotOpened    []badVector  `json:"refused_requests"`
}

type keyVector struct {
	Private string `json:"private"` // the seed of an Ed25519 key, or the scalar of a P-256 key
	Public  string `json:"public"`  // 32 bytes, or the SubjectPublicKeyInfo
}

type bodyVector struct {
	Name string `json:"name"`
	Body string `json:"body"`
}

type reqVector struct {
	bodyVector

	Payload string `json:"payload"`
}

type recVector struct {
	Name    string `json:"name"`
	Record  string `json:"record"`
	Details string `json:"details"`
	Proof   string `json:"proof"`
}

type leafVector struct {
	SPKI      string `json:"spki_sha256"`
	Type      uint8  `json:"type"`
	Version   uint8  `json:"version"`
	Hash      uint8  `json:"hash"`
	Digest    string `json:"digest"`
	Signature string `json:"signature"`
	Leaf      string `json:"leaf"`
}

type rootVector struct {
	Leaves []string `json:"leaves"`
	Root   string   `json:"root"`
}

type refVector struct {
	Code      protocol.Code `json:"code"`
	Status    int           `json:"status"`
	Elsewhere bool          `json:"elsewhere"`
	Body      string        `json:"body"`
}

type badVector struct {
	bodyVector

	Code protocol.Code `json:"code"`
}

// TestVectors compares the file with what this package makes. UPDATE=1 writes it.
func TestVectors(t *testing.T) {
	want, err := json.MarshalIndent(makeVectors(t), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(vectorFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what is made today. A released version of the protocol never changes. Before a release: UPDATE=1", vectorFile)
	}
}
