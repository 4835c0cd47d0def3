package input_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/input"
)

var errStop = errors.New("stopped")

// kinds makes a file of each kind that is not regular. It returns their paths by kind.
func kinds(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	fifo, socket, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "socket"), filepath.Join(dir, "link")
	check(t, syscall.Mkfifo(fifo, 0o600))
	l, err := net.Listen("unix", socket)
	check(t, err)
	t.Cleanup(func() { l.Close() })
	check(t, os.Symlink(fifo, link))
	return map[string]string{"FIFO": fifo, "link to a FIFO": link, "socket": socket, "device": "/dev/zero", "directory": dir}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// soon fails the test if do hangs.
func soon(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s: hangs", what)
	}
}

func TestRegularRefusesEverythingElse(t *testing.T) {
	for kind, path := range kinds(t) {
		soon(t, kind, func() {
			f, err := input.Regular(path)
			if !errors.Is(err, input.ErrNotRegular) {
				t.Errorf("%s: %v, %v", kind, f, err)
			}
			if _, err := input.ReadRegular(path, 10); !errors.Is(err, input.ErrNotRegular) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v", kind, err)
			}
		})
	}
}

// TestWaitingEnds checks that waiting for a FIFO ends with the context, if nobody opens it for
// writing and if a writer writes nothing.
func TestWaitingEnds(t *testing.T) {
	for _, writer := range []bool{false, true} {
		fifo := kinds(t)["FIFO"]
		if writer {
			w, err := os.OpenFile(fifo, os.O_RDWR, 0)
			check(t, err)
			t.Cleanup(func() { w.Close() })
		}
		for name, read := range map[string]func(context.Context) error{
			"Open": func(ctx context.Context) error {
				f, err := input.Open(ctx, fifo)
				if err == nil {
					defer f.Close()
					_, err = f.Read(make([]byte, 1))
				}
				return err
			},
			"ReadFile": func(ctx context.Context) error { _, err := input.ReadFile(ctx, fifo, 1); return err },
			"Seekable": func(ctx context.Context) error { _, err := input.Seekable(ctx, fifo, 1); return err },
		} {
			ctx, stop := context.WithCancelCause(t.Context())
			time.AfterFunc(10*time.Millisecond, func() { stop(errStop) })
			soon(t, name, func() {
				if err := read(ctx); !errors.Is(err, errStop) {
					t.Errorf("%s, writer %v: %v", name, writer, err)
				}
			})
		}
	}
}

func TestStandardInputThatIsAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	check(t, err)
	defer r.Close()
	defer w.Close()
	ctx, stop := context.WithCancelCause(t.Context())
	s := input.Stream(ctx, r, "standard input")
	_, err = w.WriteString("some")
	check(t, err)
	got := make([]byte, 8)
	n, err := s.Read(got)
	if err != nil || string(got[:n]) != "some" {
		t.Fatalf("%q, %v", got[:n], err)
	}
	time.AfterFunc(10*time.Millisecond, func() { stop(errStop) })
	soon(t, "Read", func() {
		if _, err := s.Read(got); !errors.Is(err, errStop) {
			t.Error(err)
		}
	})
}

// TestContent checks that a pipe gives the same content as a file, up to the limit.
func TestContent(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 100_000)
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, []byte(content), 0o600))
	pipe := func() string {
		r, w, err := os.Pipe()
		check(t, err)
		t.Cleanup(func() { r.Close() })
		go func() { defer w.Close(); _, _ = io.WriteString(w, content) }()
		return fmt.Sprintf("/dev/fd/%d", r.Fd())
	}
	size := int64(len(content))
	for name, path := range map[string]func() string{"file": func() string { return file }, "pipe": pipe} {
		got, err := input.ReadFile(t.Context(), path(), size)
		if err != nil || string(got) != content {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if _, err := input.ReadFile(t.Context(), path(), size-1); !errors.Is(err, input.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
		f, err := input.Seekable(t.Context(), path(), size)
		check(t, err)
		all, err := io.ReadAll(f)
		if err != nil || string(all) != content {
			t.Errorf("%s: %d bytes, %v", name, len(all), err)
		}
		check(t, f.Close())
	}
	if _, err := input.Seekable(t.Context(), pipe(), size-1); !errors.Is(err, input.ErrTooLarge) {
		t.Error(err)
	}
	if _, err := input.ReadFile(t.Context(), "/dev/zero", 100); !errors.Is(err, input.ErrTooLarge) {
		t.Error(err)
	}
}

func TestErrorsNameTheKindOfFile(t *testing.T) {
	all := kinds(t)
	for kind, want := range map[string]string{"socket": "is a socket", "directory": "is a directory: name the file in it"} {
		if _, err := input.ReadFile(t.Context(), all[kind], 10); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestReadSecretTakesExactlyTheLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("12345678"), 0o600); err != nil {
		t.Fatal(err)
	}
	data, info, err := input.ReadSecret(context.Background(), path, 8)
	if err != nil || string(data) != "12345678" || info.Size() != 8 {
		t.Errorf("got %q, %v", data, err)
	}
	if _, _, err := input.ReadSecret(context.Background(), path, 7); !errors.Is(err, input.ErrTooLarge) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if _, _, err := input.ReadSecret(context.Background(), "/dev/zero", 1000); !errors.Is(err, input.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}
