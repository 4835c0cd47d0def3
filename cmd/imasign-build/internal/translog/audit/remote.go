package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/internal/quote"
)

// Remote is the log of a server.
type Remote struct {
	client *http.Client
	server string
}

// NewRemote returns the log of a server, HOST:PORT. client authenticates both sides.
func NewRemote(client *http.Client, server string) *Remote { return &Remote{client, server} }

// String returns the URL of the server.
func (r *Remote) String() string { return "https://" + r.server }

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	maxBundle  = tileWidth * (2 + protocol.MaxRecord)
)

// Checkpoint implements [Log].
func (r *Remote) Checkpoint(ctx context.Context) ([]byte, error) {
	return r.get(ctx, "checkpoint", maxNote)
}

const maxNote = 64 << 10

func (r *Remote) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	return r.ask(ctx, http.MethodGet, path, nil, limit)
}

// ask sends a request and returns the whole answer.
func (r *Remote) ask(ctx context.Context, method, path string, body []byte, limit int64) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, r.String()+protocol.LogPath+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("read the log of %s: %w", r.server, err)
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read the log of %s: %w", r.server, withoutURL(err))
	}
	defer response.Body.Close() //nolint:errcheck // it is read to its end
	data, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("read the log of %s: %s: %w", r.server, path, r.refusal(response, data))
	case err != nil:
		return nil, fmt.Errorf("read the log of %s: %s: %w", r.server, path, err)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("read the log of %s: %s: the answer has more than %d bytes", r.server, path, limit)
	}
	return data, nil
}

// withoutURL removes what http.Client adds to an error: the method and the URL.
func withoutURL(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// refusal returns why the server did not answer.
func (r *Remote) refusal(response *http.Response, body []byte) error {
	if refused, err := protocol.DecodeRefusal(body); err == nil && response.Header.Get("Content-Type") == protocol.ContentType {
		return refused
	}
	text, _, _ := strings.Cut(string(body[:min(len(body), 200)]), "\n")
	return errors.New(quote.Text(strings.TrimSpace(response.Status + ": " + text)))
}

// Walk implements [Log]. Every record is compared with the tree before it is returned.
func (r *Remote) Walk(ctx context.Context, c protocol.Checkpoint) iter.Seq2[translog.Entry, error] {
	return func(yield func(translog.Entry, error) bool) {
		done := false
		worker := func() func(context.Context, translog.Entry) fetched { return r.fetch }
		err := pipeline.Ordered(ctx, fetches, 2*fetches, r.records(ctx, c), worker, func(f fetched) error {
			if f.err != nil {
				return f.err
			}
			if done = done || !yield(f.entry, nil); done {
				return errDone
			}
			return nil
		})
		if err != nil && !done {
			yield(translog.Entry{}, err)
		}
	}
}

var errDone = errors.New("done")

// fetches is how many details are fetched at a time.
const fetches = 8

type fetched struct {
	entry translog.Entry
	err   error
}

// fetch adds the details to an entry.
func (r *Remote) fetch(ctx context.Context, e translog.Entry) fetched {
	details, err := r.get(ctx, "details/"+strconv.FormatInt(e.Index, 10), protocol.MaxDetails)
	e.Details = details
	return fetched{e, err}
}

// records returns the records without their details.
func (r *Remote) records(ctx context.Context, c protocol.Checkpoint) iter.Seq2[translog.Entry, error] {
	return func(yield func(translog.Entry, error) bool) {
		tree := r.tree(ctx, c)
		for first := int64(0); first < c.Size; first += tileWidth {
			entries, err := r.bundle(ctx, tree, c, first)
			if err != nil {
				yield(translog.Entry{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// bundle returns the records of the bundle that begins at first, and compares them with the tree.
func (r *Remote) bundle(ctx context.Context, tree tlog.HashReader, c protocol.Checkpoint, first int64) ([]translog.Entry, error) {
	width := min(tileWidth, c.Size-first)
	data, err := r.get(ctx, "tile/entries/"+tilePath(first/tileWidth, int(width)), maxBundle)
	if err != nil {
		return nil, err
	}
	records, err := splitBundle(data, int(width))
	if err != nil {
		return nil, damaged(r, first, "%v", err)
	}
	indexes := make([]int64, width)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
	}
	hashes, err := tree.ReadHashes(indexes)
	if err != nil {
		return nil, r.explain(err, first)
	}
	entries := make([]translog.Entry, width)
	for i, record := range records {
		if tlog.RecordHash(record) != hashes[i] {
			return nil, damaged(r, first+int64(i), "it is not what the checkpoint signed: changed, moved, or of a fork of the log")
		}
		entries[i] = translog.Entry{Index: first + int64(i), Record: record}
	}
	return entries, nil
}

// explain returns a damage if the tree does not fit the checkpoint, and other errors as they are.
func (r *Remote) explain(err error, first int64) error {
	var failed *fetchError
	if errors.As(err, &failed) {
		return failed.error
	}
	return damaged(r, first, "the tiles of the tree are not what the checkpoint signed: %v", quote.Plain(err))
}

// splitBundle reads n records, each after its length.
func splitBundle(data []byte, n int) ([][]byte, error) {
	records := make([][]byte, 0, n)
	for range n {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("the bundle has %d records instead of %d", len(records), n)
		}
		size := int(binary.BigEndian.Uint16(data))
		records = append(records, data[2:2+size])
		data = data[2+size:]
	}
	if len(data) > 0 {
		return nil, fmt.Errorf("the bundle has %d bytes too many", len(data))
	}
	return records, nil
}
