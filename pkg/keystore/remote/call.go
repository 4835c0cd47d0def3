package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
)

// maxPause is the longest time that a server is left alone because it asked for it.
const maxPause = time.Minute

// refused is a refusal by a server.
type refused struct {
	*protocol.RefusedError

	pause time.Duration // that the server asks for; 0 if it does not
	clock time.Duration // how far the clock here is ahead of the server's
}

func (r *refused) Unwrap() error { return r.RefusedError }

var (
	// errForeign means that an answer is not one of the protocol.
	errForeign = errors.New("not the answer of a signing service")
	// errFalse means that a server answered what no honest one does. It is not used again.
	errFalse error = marked{errors.New("a false answer"), errForeign}
)

// exchange sends a message to a server, and returns the body of the answer. A refusal is an
// error of type *refused. A request without a body is a GET.
func exchange(ctx context.Context, client *http.Client, server, path string, body []byte) ([]byte, error) {
	request, err := newRequest(ctx, "https://"+server+path, body)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, unwrapURL(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	data, err := io.ReadAll(io.LimitReader(response.Body, protocol.MaxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case response.Header.Get("Content-Type") != protocol.ContentType:
		return nil, fmt.Errorf("%w: HTTP status %d, content type %q: check host, port and proxies between", errForeign, response.StatusCode, response.Header.Get("Content-Type"))
	case len(data) > protocol.MaxAnswer:
		return nil, fmt.Errorf("%w: it has more than %d bytes", errForeign, protocol.MaxAnswer)
	case response.StatusCode == http.StatusOK:
		return data, nil
	}
	refusal, err := protocol.DecodeRefusal(data)
	if err != nil {
		return nil, fmt.Errorf("%w: HTTP status %d: %w", errForeign, response.StatusCode, err)
	}
	return nil, &refused{refusal, pauseOf(response), clockOf(response)}
}

// newRequest returns a request that the transport does not repeat: an envelope is good for one
// request.
func newRequest(ctx context.Context, url string, body []byte) (*http.Request, error) {
	if body == nil {
		return http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.GetBody = nil
	request.Header.Set("Content-Type", protocol.ContentType)
	return request, nil
}

// pauseOf returns the time in Retry-After, which is in seconds.
func pauseOf(response *http.Response) time.Duration {
	seconds, err := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxPause)
}

// clockOf compares the clock here with the Date of an answer.
func clockOf(response *http.Response) time.Duration {
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return 0
	}
	return time.Since(date).Round(time.Second)
}

// describe asks a server about the key.
func (k *key) describe(ctx context.Context, server string) (*protocol.KeyInfo, error) {
	data, err := exchange(ctx, k.client, server, protocol.KeyPath+k.where.key, nil)
	if err != nil {
		return nil, err
	}
	info, err := protocol.DecodeKeyInfo(data)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errForeign, err)
	case info.Name != k.where.key:
		return nil, fmt.Errorf("%w: it describes another key", errForeign)
	}
	return info, nil
}

// ask sends one request to a server and returns its answer. It checks the answer and its
// receipt, but does not verify the signatures.
func (k *key) ask(ctx context.Context, server string, b *batch) (*protocol.Answer, error) {
	request, err := k.request(server, b)
	if err != nil {
		return nil, err
	}
	body, err := protocol.Seal(request, k.who.key)
	if err != nil {
		return nil, err
	}
	data, err := exchange(ctx, k.client, server, protocol.SignPath, body)
	if err != nil {
		return nil, err
	}
	answer, err := protocol.DecodeAnswer(data)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errForeign, err)
	case !bytes.Equal(answer.ID, request.ID):
		return nil, fmt.Errorf("%w: it answers another request", errFalse)
	case len(answer.Signatures) != len(b.digests):
		return nil, fmt.Errorf("%w: %d signatures for %d digests", errFalse, len(answer.Signatures), len(b.digests))
	}
	for _, signature := range answer.Signatures {
		if len(signature) == 0 || len(signature) > k.public.MaxValueSize() {
			return nil, fmt.Errorf("%w: a signature of %d bytes by a key of %s", errFalse, len(signature), k.public.Algorithm())
		}
	}
	if err := k.checkReceipt(request, answer); err != nil {
		return nil, fmt.Errorf("%w: its receipt: %w", errFalse, err)
	}
	return answer, nil
}
