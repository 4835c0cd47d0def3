package audit

import (
	"context"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/internal/protocol"
)

// tree returns a reader of the hashes in the tree of a checkpoint. Each hash is proved against
// the root.
func (r *Remote) tree(ctx context.Context, c protocol.Checkpoint) tlog.HashReader {
	tiles := &tiles{log: r, ctx: ctx, kept: map[tlog.Tile][]byte{}}
	return tlog.TileHashReader(tlog.Tree{N: c.Size, Hash: c.Root}, tiles)
}

// tiles fetches tiles for package tlog, and keeps some. It is for one goroutine.
type tiles struct {
	log  *Remote
	ctx  context.Context // tlog.TileReader passes none
	kept map[tlog.Tile][]byte
}

// maxKept is how many tiles are kept, of 8 KiB at most.
const maxKept = 256

// fetchError is an error of fetching, not of the tree.
type fetchError struct{ error }

// Unwrap returns the error.
func (e *fetchError) Unwrap() error { return e.error }

// Height implements tlog.TileReader.
func (t *tiles) Height() int { return tileHeight }

// ReadTiles implements tlog.TileReader.
func (t *tiles) ReadTiles(list []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(list))
	for i, tile := range list {
		if all[i] = t.kept[tile]; all[i] != nil {
			continue
		}
		data, err := t.log.get(t.ctx, "tile/"+strconv.Itoa(tile.L)+"/"+tilePath(tile.N, tile.W), tileWidth*tlog.HashSize)
		if err != nil {
			return nil, &fetchError{err}
		}
		all[i] = data
	}
	return all, nil
}

// SaveTiles implements tlog.TileReader. It gets the tiles that were proved.
func (t *tiles) SaveTiles(list []tlog.Tile, data [][]byte) {
	if len(t.kept)+len(list) > maxKept {
		clear(t.kept)
	}
	for i, tile := range list {
		t.kept[tile] = data[i]
	}
}

// tilePath returns the end of the path of a tile (C2SP tlog-tiles).
func tilePath(n int64, width int) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	if width < tileWidth {
		path += ".p/" + strconv.Itoa(width)
	}
	return path
}
