package rpmsign

import (
	"os"
	"path/filepath"
)

// MakeOutputDirs makes the directories that the units' outputs go to.
func MakeOutputDirs(units []Unit) error {
	made := map[string]bool{}
	for _, u := range units {
		if dir := filepath.Dir(u.Output); u.Output != "" && !made[dir] {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			made[dir] = true
		}
	}
	return nil
}
