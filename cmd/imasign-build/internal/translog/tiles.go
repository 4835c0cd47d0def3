package translog

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	maxLevel   = 63
)

// entriesLevel is the level of a tile that has records instead of hashes.
const entriesLevel = -1

// tileName is the path of a tile (C2SP tlog-tiles), after "tile/".
type tileName struct {
	level, width int
	n            int64
}

var errTile = errors.New("not the path of a tile")

// parseTile reads the path of a tile: <L>/<N>[.p/<W>] or entries/<N>[.p/<W>].
func parseTile(path string) (tileName, error) {
	level, rest, found := strings.Cut(path, "/")
	t := tileName{level: entriesLevel, width: tileWidth}
	if level != "entries" {
		l, ok := decimal(level, maxLevel)
		if !ok {
			return tileName{}, errTile
		}
		t.level = int(l)
	}
	if whole, width, partial := strings.Cut(rest, ".p/"); partial {
		w, ok := decimal(width, tileWidth-1)
		if !ok || w == 0 {
			return tileName{}, errTile
		}
		rest, t.width = whole, int(w)
	}
	n, ok := tileNumber(rest)
	if !ok || !found {
		return tileName{}, errTile
	}
	t.n = n
	return t, nil
}

// tileNumber reads the number of a tile: groups of three digits, all but the last after an x.
func tileNumber(path string) (int64, bool) {
	groups := strings.Split(path, "/")
	if len(groups) > 5 {
		return 0, false
	}
	var n int64
	for i, group := range groups {
		digits, more := strings.CutPrefix(group, "x")
		if more == (i == len(groups)-1) || len(digits) != 3 || (i == 0 && more && digits == "000") {
			return 0, false
		}
		for _, c := range digits {
			if c < '0' || c > '9' {
				return 0, false
			}
			n = n*10 + int64(c-'0')
		}
	}
	return n, true
}

func decimal(s string, limit uint64) (uint64, bool) {
	v, err := strconv.ParseUint(s, 10, 32)
	return v, err == nil && v <= limit && strconv.FormatUint(v, 10) == s
}

// inside reports whether a log of that size has the tile.
func (t tileName) inside(size int64) bool {
	level := max(t.level, 0)
	have := int64(0)
	if shift := tileHeight * level; shift < 63 {
		have = size >> shift
	}
	return t.n*tileWidth+int64(t.width) <= have
}

// tile returns the content of a tile that the log has.
func (l *Log) tile(t tileName) ([]byte, error) {
	if t.level == entriesLevel {
		return l.bundle(t)
	}
	return tlog.ReadTileData(tlog.Tile{H: tileHeight, L: t.level, N: t.n, W: t.width}, l.index)
}

// bundle returns records, each after its length.
func (l *Log) bundle(t tileName) ([]byte, error) {
	var b []byte
	for i := range int64(t.width) {
		record, err := l.record(t.n*tileWidth + i)
		if err != nil {
			return nil, err
		}
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(record))), record...)
	}
	return b, nil
}
