package shards

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Prune removes the shards in dir that the index x does not list, and what interrupted programs
// left, unless they were written more recently than age. It returns the number of shards that
// it removed. Other files stay.
func Prune(dir string, x Index, age time.Duration) (removed int, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		_, err := parseName(f.Name())
		shard := err == nil
		if x.Has(f.Name()) || !shard && !strings.HasPrefix(f.Name(), "."+prefix) { // as atomicfile names them
			continue
		}
		info, err := f.Info()
		if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()) < age {
			continue
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("remove an old shard: %w", err)
		}
		if shard {
			removed++
		}
	}
	return removed, nil
}
