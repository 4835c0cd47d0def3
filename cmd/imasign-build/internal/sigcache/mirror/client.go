package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/imasign/imasign-build/internal/quote"
)

// maxRedirects is the number of redirects that one request follows.
const maxRedirects = 5

// limits are times that a server may take.
type limits struct {
	stall   time.Duration // without sending anything
	request time.Duration // for one file
	total   time.Duration // for everything that a run fetches
}

func defaultLimits() limits { return limits{15 * time.Second, 2 * time.Minute, 10 * time.Minute} }

var (
	errStalled = errors.New("the server does not send anything")
	errSlow    = errors.New("the server is too slow")
	errTotal   = errors.New("fetching takes too long")
)

// newClient returns a client for one server. It takes proxies and certificate authorities from
// the environment.
func newClient(base *url.URL) *http.Client {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
		DisableCompression: true, // signatures cannot be compressed
		MaxIdleConns:       parallel, MaxIdleConnsPerHost: parallel, IdleConnTimeout: time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &http.Client{Transport: transport, CheckRedirect: func(to *http.Request, via []*http.Request) error {
		to.URL.User = nil // the server does not choose what is sent to another one
		if to.URL.Scheme != base.Scheme || to.URL.Host != base.Host {
			to.Header.Del("Authorization")
		}
		switch from := via[len(via)-1].URL; {
		case len(via) > maxRedirects:
			return fmt.Errorf("more than %d redirects", maxRedirects)
		case to.URL.Scheme != "https" && to.URL.Scheme != from.Scheme:
			return fmt.Errorf("redirect from %s to %s is refused", from.Scheme, to.URL.Scheme)
		}
		return nil
	}}
}

// accepted returns an error unless the answer has a file.
func accepted(r *http.Response) error {
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d %s", r.StatusCode, http.StatusText(r.StatusCode))
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return fmt.Errorf("the server sent it compressed (%q), without being asked to", e)
	}
	return nil
}

// get requests a file and passes the response to use. It also returns the error of use. Errors
// name the file.
func (w *web) get(ctx context.Context, name string, header http.Header, use func(r *http.Response, body io.Reader) error) (err error) {
	select {
	case w.busy <- struct{}{}:
		defer func() { <-w.busy }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("fetch %s: %w", name, quote.Plain(err))
		}
	}()
	left := w.clock.start(w.limits.total)
	defer w.clock.stop()
	ctx, cancelTotal := context.WithTimeoutCause(ctx, left, errTotal)
	defer cancelTotal()
	ctx, cancelRequest := context.WithTimeoutCause(ctx, w.limits.request, errSlow)
	defer cancelRequest()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(w.limits.stall, func() { cancel(errStalled) })
	defer timer.Stop()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base.JoinPath(name).String(), nil)
	if err != nil {
		return err
	}
	if header != nil {
		request.Header = header
	}
	if w.user != nil {
		password, _ := w.user.Password()
		request.SetBasicAuth(w.user.Username(), password)
	}
	response, err := w.client.Do(request)
	if err != nil {
		return cause(ctx, err)
	}
	defer response.Body.Close() //nolint:errcheck // what matters was read
	body := &progress{response.Body, timer, w.limits.stall}
	return cause(ctx, use(response, body))
}

// cause returns the reason why ctx ended, if that is why there is an error.
func cause(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	wrapped := (*url.Error)(nil)
	if !errors.As(err, &wrapped) {
		return err
	}
	err = wrapped.Err // the URL of wrapped may be that of a redirect
	switch text := err.Error(); {
	case strings.HasPrefix(text, "failed to parse Location"):
		return errors.New("redirect to an invalid URL")
	case len(text) > maxText:
		return errors.New(text[:maxText] + "…")
	}
	return err
}

// maxText limits how much of a server's text is in an error. net/http quotes it.
const maxText = 300

// progress starts its timer again when something was read.
type progress struct {
	io.Reader
	timer *time.Timer
	stall time.Duration
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if n > 0 {
		p.timer.Reset(p.stall)
	}
	return n, err
}

// clock measures the time in which at least one request is running.
type clock struct {
	mu      sync.Mutex
	running int
	since   time.Time
	spent   time.Duration
}

// start returns how much of a limit is left.
func (c *clock) start(limit time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running++; c.running == 1 {
		c.since = time.Now()
	}
	return limit - c.spent - time.Since(c.since)
}

func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running--; c.running == 0 {
		c.spent += time.Since(c.since)
	}
}
