package ext4sign

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/internal/child"
	"github.com/imasign/imasign-build/internal/quote"
)

// workshop is a private directory for the programs of e2fsprogs. They find the image by
// the name "image" there, because they read options after a question mark in a path, and
// end a word of a request at a space.
type workshop struct {
	dir         string
	image       *os.File
	environment []string
}

// inWorkshop calls work with a workshop for an image. The programs open the image by a
// descriptor, so that nobody can put another file in its place.
func (c *Copy) inWorkshop(file *os.File, work func(*workshop) error) error {
	dir, err := os.MkdirTemp("", "imasign-*")
	if err != nil {
		return fmt.Errorf("make a directory for debugfs: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it has values, which are no secrets
	if err := os.Symlink("/proc/self/fd/3", filepath.Join(dir, "image")); err != nil {
		return err
	}
	// A preloaded library, such as pseudo, would look for the file by its path.
	environment := slices.DeleteFunc(slices.Clone(c.o.Environment), func(entry string) bool { return strings.HasPrefix(entry, "LD_PRELOAD=") })
	return work(&workshop{dir, file, environment})
}

func (w *workshop) path(name string) string { return filepath.Join(w.dir, name) }

// locate returns the path of a program of e2fsprogs. They are where ordinary users do not
// look for programs.
func locate(program string) (string, error) {
	path, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, program))
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", program, ErrNoProgram)
	}
	return filepath.Abs(path)
}

// run runs a program on a file system of the image. What it prints is in the file log.
func (w *workshop) run(ctx context.Context, m *mount, program string, args ...string) error {
	path, err := locate(program)
	if err != nil {
		return err
	}
	now, err := m.lastChange(w.image)
	if err != nil {
		return err
	}
	return child.Run(ctx, child.Command{
		Program: path, Args: append(args, "image?offset="+strconv.FormatInt(m.Volume.Start, 10)), Dir: w.dir, Log: w.path("log"), Files: []*os.File{w.image},
		// By the first of the clocks that a version of a program knows.
		Environment: append(slices.Clone(w.environment), "LC_ALL=C", "E2FSCK_CONFIG=/dev/null", "E2FSCK_TIME="+now, "E2FSPROGS_FAKE_TIME="+now, "SOURCE_DATE_EPOCH="+now),
	})
}

// lastChange returns the time of the last change that the superblock states, in decimal
// seconds. It is never zero, which would mean the real time.
func (m *mount) lastChange(file *os.File) (string, error) {
	const superblock, low, high = 1024, 0x30, 0x274
	b := make([]byte, 1024)
	if _, err := file.ReadAt(b, m.Volume.Start+superblock); err != nil {
		return "", err
	}
	seconds := uint64(binary.LittleEndian.Uint32(b[low:])) | uint64(b[high])<<32
	return strconv.FormatUint(max(seconds, 1), 10), nil
}

// fsck checks that the file system is clean. It changes nothing.
func (w *workshop) fsck(ctx context.Context, m *mount) error {
	err := w.run(ctx, m, "e2fsck", "-fn")
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// miscounted is what e2fsck says about an inode that has another number of blocks than it
// states.
var miscounted = regexp.MustCompile(`^Inode (\d+), i_blocks is \d+, should be (\d+)\. `)

// recount corrects how many blocks inodes have. mke2fs and debugfs (1.47.0) count those of
// values that are in inodes of their own wrong. e2fsck, which could correct that too, would
// also sort directories.
func (w *workshop) recount(ctx context.Context, m *mount) error {
	if !m.has("ea_inode") || w.fsck(ctx, m) == nil {
		return nil
	}
	text, err := os.ReadFile(w.path("log"))
	if err != nil {
		return err
	}
	var request bytes.Buffer
	for line := range strings.Lines(string(text)) {
		if found := miscounted.FindStringSubmatch(line); found != nil {
			fmt.Fprintf(&request, "set_inode_field <%s> blocks %s\n", found[1], found[2])
		}
	}
	const name = "recount"
	if err := os.WriteFile(w.path(name), request.Bytes(), 0o600); err != nil {
		return err
	}
	said, err := w.debugfs(ctx, m, name)
	if len(said) > 0 {
		err = complaint(said)
	}
	return err
}

// debugfs executes a request and returns what debugfs says about it: errors. It prints the
// name of its version and each line of the request too.
func (w *workshop) debugfs(ctx context.Context, m *mount, request string) (said []string, err error) {
	if err := w.run(ctx, m, "debugfs", "-w", "-f", request); err != nil {
		return nil, fmt.Errorf("%w: %w", errAttach, err)
	}
	log, err := os.Open(w.path("log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // only read
	lines := bufio.NewReader(log)
	for k := 0; ; k++ {
		line, err := lines.ReadString('\n')
		line = strings.TrimSuffix(line, "\n")
		version := k == 0 && strings.HasPrefix(line, "debugfs 1.")
		if line != "" && !version && !strings.HasPrefix(line, "debugfs: ea_set ") && !strings.HasPrefix(line, "debugfs: set_inode_field ") {
			said = append(said, line)
		}
		if errors.Is(err, io.EOF) {
			return said, nil
		} else if err != nil {
			return nil, err
		}
	}
}

// complaint is the error that debugfs has said something.
func complaint(said []string) error {
	const most = 5
	if len(said) > most {
		said = append(said[:most:most], "…")
	}
	return quote.Below(errAttach, said...)
}
