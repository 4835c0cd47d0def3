package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
)

// configIDs are the number of diff ids in a config and a digest over them, because a
// config can have many.
type configIDs struct {
	n   int
	sum [32]byte
}

func sumIDs(ids []string) configIDs {
	return configIDs{len(ids), sha256.Sum256([]byte(strings.Join(ids, "\n")))}
}

// diffIDs reads the diff ids in a config's blob. It returns nil if the blob is not the
// config of an image.
func (w *walk) diffIDs(ctx context.Context, d *descriptor) (*configIDs, error) {
	if err := w.verify(ctx, d); err != nil {
		return nil, err
	}
	name := d.digest.path()
	if ids, met := w.ids[name]; met {
		return ids, nil
	}
	head, err := w.head(d)
	if err != nil {
		return nil, err
	}
	var ids *configIDs
	if text := strings.TrimLeft(string(head), " \t\r\n"); isConfig(d.mediaType) || text == "" && len(head) > 0 || strings.HasPrefix(text, "{") {
		ids, err = w.idsIn(name)
	}
	if err == nil {
		w.ids[name] = ids
	}
	return ids, err
}

func (w *walk) idsIn(name string) (*configIDs, error) {
	text, err := w.text(name)
	if err != nil {
		return nil, err
	}
	_, _, ids, err := parseConfig(text)
	if err != nil || ids == nil {
		return nil, err
	}
	sum := sumIDs(ids)
	return &sum, nil
}

// parseConfig returns the config, its rootfs and the diff ids, nil if there are none.
func parseConfig(text []byte) (config, rootfs object, ids []string, err error) {
	if config, err = parseObject(text, configKeys); err != nil {
		return nil, nil, nil, err
	}
	part, there := config["rootfs"]
	if !there {
		return config, nil, nil, nil
	}
	if rootfs, err = asObject(part, rootfsKeys); err != nil {
		return nil, nil, nil, err
	}
	if err := rootfs.get("diff_ids", &ids); err != nil {
		return nil, nil, nil, err
	}
	if ids == nil && rootfs["diff_ids"] != nil {
		ids = []string{}
	}
	return config, rootfs, ids, nil
}

// ociConfig checks that a config's diff ids are those of the layers, and writes the new
// ones to it.
func (w *walk) ociConfig(ctx context.Context, d *descriptor, met []*layer, n *node) error {
	ids, err := w.diffIDs(ctx, d)
	noIDs := sumIDs(nil)
	if err != nil {
		return fmt.Errorf("config %s: %w", d.digest, err)
	}
	if ids == nil && isConfig(d.mediaType) && n.runs {
		ids = &noIDs
	}
	if n.kind != image || ids == nil {
		return w.copyBlob(ctx, d)
	}
	if err := ids.check(met); err != nil {
		return fmt.Errorf("config %s: %w", d.digest, err)
	}
	became, err := w.config(d.digest.path(), met)
	if err != nil || w.out == nil {
		return err
	}
	return w.point(d, rewritten{digest: d.digest, size: d.size}, became)
}

// check compares the diff ids in a config with those of the layers.
func (c *configIDs) check(met []*layer) error {
	was := make([]string, len(met))
	for i, l := range met {
		if l != nil {
			was[i] = string(l.was.diffID)
		}
	}
	if c.n != len(met) {
		return fmt.Errorf("%w: %d layers, but %d diff ids in the config", ErrFormat, len(met), c.n)
	}
	if *c != sumIDs(was) {
		return fmt.Errorf("%w: the diff ids in the config are not those of the layers", ErrFormat)
	}
	return nil
}

// config writes a config with the new diff ids of its layers.
func (w *walk) config(name string, met []*layer) (rewritten, error) {
	if w.out == nil {
		return rewritten{}, nil
	}
	now := make([]string, len(met))
	changed := false
	for i, l := range met {
		now[i] = string(l.now.diffID)
		changed = changed || l.was.diffID != l.now.diffID
	}
	sum := sumIDs(append(now[:len(now):len(now)], name))
	if became, there := w.configs[sum.sum]; there {
		return became, nil
	}
	text, err := w.text(name)
	if err != nil {
		return rewritten{}, err
	}
	became := text
	if changed {
		if became, err = changeIDs(text, now); err != nil {
			return rewritten{}, err
		}
	}
	result := rewritten{digest: digestOfBytes(became), size: int64(len(became))}
	if named := blobDigest(name); named != "" && bytes.Equal(became, text) {
		result.digest = named // possibly of another algorithm
	}
	w.configs[sum.sum] = result
	return result, w.putConfig(name, text, became)
}

func changeIDs(text []byte, ids []string) ([]byte, error) {
	config, rootfs, _, err := parseConfig(text)
	if err != nil {
		return nil, err
	}
	if err := firstError(rootfs.set("diff_ids", ids), config.set("rootfs", rootfs)); err != nil {
		return nil, err
	}
	return json.Marshal(config)
}

// putConfig writes a config under the name that its new content requires.
func (w *walk) putConfig(name string, before, now []byte) error {
	i, err := w.resolve(name)
	if err != nil {
		return err
	}
	becomes := renamed(name, rewritten{digest: digestOfBytes(before)}, rewritten{digest: digestOfBytes(now)})
	if becomes != name {
		w.replaced[name] = becomes
	}
	return w.putBytes(becomes, i, now)
}
