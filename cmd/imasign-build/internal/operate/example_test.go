package operate_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/pkg/signing"
)

// memo is a container in memory.
type memo string

func (m memo) Entries(context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		yield(signing.Entry{Path: "memo", HashOnly: true, Open: func(context.Context) (*signing.File, error) {
			return &signing.File{ReadCloser: io.NopCloser(strings.NewReader(string(m)))}, nil
		}}, nil)
	}
}

func (m memo) Prepare(_ context.Context, plan *signing.Plan) (*signing.Change, error) {
	return &signing.Change{Any: plan.Counts().Pending() > 0, Commit: func(context.Context) error {
		fmt.Println("attached")
		return nil
	}}, nil
}

func (memo) Close() error { return nil }

func Example() {
	engine, err := signing.New(signing.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	op := operate.Operation{Plan: func(ctx context.Context, _ string, src signing.Source) (*signing.Plan, error) {
		return engine.Plan(ctx, src)
	}}
	unit := operate.Unit{Path: "memo", Open: func(context.Context) (operate.Opened, error) {
		return operate.Opened{Container: memo("buy milk")}, nil
	}}
	err = operate.Run(context.Background(), unit, &op, func(o *operate.Outcome) error {
		fmt.Println(o.Plan.Counts().Hashed, "hashed")
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// attached
	// 1 hashed
}
