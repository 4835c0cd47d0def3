package translog

import (
	"net/http"
	"strings"

	"github.com/imasign/imasign-build/internal/protocol"
)

// Paths below [protocol.LogPath].
const (
	checkpointPath = "checkpoint"
	tilePath       = "tile/"
	detailsPath    = "details/"
	findPath       = "find"
)

// Handler serves the log for reading: checkpoint and tile/… as C2SP tlog-tiles says,
// details/<index>, and find, which takes the hashes of up to [protocol.MaxFind] leaves, see
// [protocol.Leaf], 32 bytes each, and answers with an array of CBOR: for each leaf the index of
// the first record that has it, or -1. The prefix of the paths must be stripped.
func (l *Log) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/")
		want := http.MethodGet
		if path == findPath {
			want = http.MethodPost
		}
		if r.Method != want && (want == http.MethodPost || r.Method != http.MethodHead) {
			w.Header().Set("Allow", want)
			http.Error(w, "use "+want, http.StatusMethodNotAllowed)
			return
		}
		l.serve(w, r, path)
	})
}

func (l *Log) serve(w http.ResponseWriter, r *http.Request, path string) {
	switch {
	case path == checkpointPath:
		w.Header().Set("Cache-Control", "no-cache")
		answer(w, "text/plain; charset=utf-8", l.Checkpoint(), nil)
	case path == findPath:
		l.serveFind(w, r)
	case strings.HasPrefix(path, tilePath):
		t, err := parseTile(path[len(tilePath):])
		if err != nil || !t.inside(l.Size()) {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=31536000, immutable")
		data, err := l.tile(t)
		answer(w, "application/octet-stream", data, err)
	case strings.HasPrefix(path, detailsPath):
		i, ok := decimal(path[len(detailsPath):], uint64(max(l.Size(), 1)-1))
		if !ok || l.Size() == 0 {
			http.NotFound(w, r)
			return
		}
		data, err := l.details(int64(i))
		answer(w, protocol.ContentType, data, err)
	default:
		http.NotFound(w, r)
	}
}

// answer writes data, or that the log cannot be read. What is wrong is for the operator's eyes.
func answer(w http.ResponseWriter, kind string, data []byte, err error) {
	if err != nil {
		w.Header().Del("Cache-Control")
		http.Error(w, "the log cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(data) //nolint:gosec // binary data with its own media type, for no browser
}
