package rules_test

import (
	"context"
	"fmt"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/rules"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

func Example() {
	set, err := rules.New([]rules.Rule{{
		Name: "images", Keys: []string{"image"}, Requesters: []string{"ci"},
		Forms: []ima.Form{ima.ContentSignature()}, Quota: 200_000,
	}}, new(rules.Usage))
	if err != nil {
		fmt.Println(err)
		return
	}
	request := &protocol.Request{Key: "image", Type: 3, Signature: 2, Hash: uint8(ima.SHA256), Digests: make([]byte, 32)}
	for _, requester := range []string{"ci", "dev"} {
		grant, err := set.Judge(context.Background(), request, requester, nil, time.Now())
		fmt.Printf("%q %v\n", grant.Rule, err)
	}
	// Output:
	// "images" <nil>
	// "" refused (no-rule): no rule lets dev sign with the key image
}
