package ext4sign

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Prepare returns the change that writes the copy. It refuses values for which there is no
// room, or that debugfs would shorten. Commit writes the copy even if the plan changes
// nothing.
func (c *Copy) Prepare(ctx context.Context, plan *signing.Plan) (*signing.Change, error) {
	if plan.Attachable() == nil {
		if err := c.fits(ctx, plan); err != nil {
			return nil, fmt.Errorf("%s: %w", c.image.Name(), err)
		}
	}
	return &signing.Change{Any: plan.Counts().Pending() > 0, Commit: func(ctx context.Context) error {
		return c.o.Write(ctx, func(file *os.File) error { return c.write(ctx, plan, file) })
	}}, nil
}

// write makes the file a copy of the image with the values of the plan.
func (c *Copy) write(ctx context.Context, plan *signing.Plan, file *os.File) error {
	if err := plan.Attachable(); err != nil {
		return err
	}
	restore, err := writable(file)
	if err != nil {
		return err
	}
	if err := atomicfile.Clone(ctx, file, c.image.File()); err != nil {
		return fmt.Errorf("copy the image: %w", err)
	}
	if err := c.image.Unchanged(); err != nil {
		return err
	}
	if plan.Counts().Pending() == 0 {
		return restore()
	}
	if err := c.attach(ctx, plan, file); err != nil {
		return err
	}
	return restore()
}

// writable makes sure that debugfs can open the file, which has the mode of the file that
// it replaces, and returns a function that restores the mode.
func writable(file *os.File) (restore func() error, err error) {
	const needed = 0o600
	info, err := file.Stat()
	if err != nil || info.Mode()&needed == needed {
		return func() error { return nil }, err
	}
	return func() error { return file.Chmod(info.Mode()) }, file.Chmod(info.Mode() | needed)
}

// attach writes the values into the copy, and checks it.
func (c *Copy) attach(ctx context.Context, plan *signing.Plan, file *os.File) error {
	c.o.Observe.Tell(signing.Event{Kind: signing.Attaching, Entries: plan.Counts().Pending()})
	return c.inWorkshop(file, func(w *workshop) error {
		requests, err := c.requests(ctx, plan, w)
		if err != nil {
			return err
		}
		var said []string
		for k, name := range requests {
			if name == "" {
				continue
			}
			lines, err := w.debugfs(ctx, &c.mounts[k], name)
			if err == nil {
				err = w.recount(ctx, &c.mounts[k])
			}
			if err != nil {
				return err
			}
			said = append(said, lines...)
		}
		err = c.compare(ctx, plan, file)
		if len(said) > 0 && context.Cause(ctx) == nil {
			err = errors.Join(err, complaint(said))
		}
		for k, name := range requests {
			if name != "" && err == nil {
				err = w.fsck(ctx, &c.mounts[k])
			}
		}
		return err
	})
}

// requests writes what debugfs is asked for, and the values in files of their own. It
// returns the name of the request of each mount, "" where nothing is to do.
func (c *Copy) requests(ctx context.Context, plan *signing.Plan, w *workshop) ([]string, error) {
	r := requests{workshop: w, names: make([]string, len(c.mounts)), files: make([]*bufio.Writer, len(c.mounts))}
	defer r.close()
	for p, err := range c.placed(ctx, plan) {
		if err == nil && p.record.Pending() {
			err = r.add(p.mount, &p.node, &p.record, c.mounts[p.mount].Layout().Block)
		}
		if err != nil {
			return nil, err
		}
	}
	return r.names, r.flush()
}

// requests are the requests that are being written.
type requests struct {
	*workshop

	names  []string        // by mount
	files  []*bufio.Writer // by mount
	opened []*os.File
	values int
}

// add adds the values of a record to the request for a file system with blocks of so many
// bytes.
func (r *requests) add(mount int, n *filesystem.Node, record *signing.Record, block int) error {
	if r.files[mount] == nil {
		r.names[mount] = "request" + strconv.Itoa(mount)
		f, err := os.OpenFile(r.path(r.names[mount]), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		r.opened, r.files[mount] = append(r.opened, f), bufio.NewWriter(f)
	}
	for _, v := range record.Changes() {
		name := "v" + strconv.Itoa(r.values)
		r.values++
		if err := os.WriteFile(r.path(name), v.Bytes, 0o600); err != nil {
			return err
		}
		if _, err := r.files[mount].WriteString(request(name, n.ID, &v, block)); err != nil {
			return err
		}
	}
	return nil
}

func (r *requests) flush() error {
	for _, f := range r.files {
		if f != nil {
			if err := f.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *requests) close() {
	for _, f := range r.opened {
		_ = f.Close() // flush has reported errors
	}
}
