package translog

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/internal/protocol"
)

func ask(t testing.TB, l *Log, method, path string, body []byte) (int, []byte) {
	t.Helper()
	w := httptest.NewRecorder()
	l.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/"+path, bytes.NewReader(body)))
	answer, err := io.ReadAll(w.Result().Body)
	must(t, err)
	return w.Code, answer
}

func TestHandler(t *testing.T) {
	dir, key := filled(t, 600)
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	defer l.Close()
	for path, size := range map[string]int{
		"tile/0/000": 8192, "tile/0/001": 8192, "tile/0/002.p/88": 88 * 32, "tile/0/002.p/1": 32, "tile/1/000.p/2": 64,
	} {
		code, body := ask(t, l, http.MethodGet, path, nil)
		if code != http.StatusOK || len(body) != size {
			t.Errorf("%s: %d, %d bytes", path, code, len(body))
		}
	}
	for _, path := range []string{
		"tile/0/002", "tile/0/002.p/89", "tile/0/002.p/256", "tile/0/002.p/0", "tile/0/002.p/01", "tile/1/000", "tile/1/001",
		"tile/8/0/000", "tile/00/000", "tile/0/0", "tile/0/x000/000", "tile/0/", "tile/64/000", "tile/63/000.p/1", "tile/entries/003",
		"tile/-1/000", "tile/0/999", "tile/0/x999/x999/x999/x999/999", "tile/0/x999/x999/x999/x999/x999/999", "details/600", "details/", "details/-1", "details/01", "", "journal", "../journal",
	} {
		if code, body := ask(t, l, http.MethodGet, path, nil); code != http.StatusNotFound {
			t.Errorf("%s: %d, %d bytes", path, code, len(body))
		}
	}
	code, bundle := ask(t, l, http.MethodGet, "tile/entries/002.p/88", nil)
	record, details := recordOf(t, 512, 512%5)
	if code != http.StatusOK || !bytes.HasPrefix(bundle[2:], record) || int(bundle[0])<<8|int(bundle[1]) != len(record) {
		t.Errorf("entries: %d, %x", code, bundle[:10])
	}
	if _, got := ask(t, l, http.MethodGet, "details/512", nil); !bytes.Equal(got, details) {
		t.Errorf("details: %x", got)
	}
	if code, _ := ask(t, l, http.MethodPut, "checkpoint", nil); code != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d", code)
	}
}

// TestTilesProve reads the tree through the tiles, as golang.org/x/mod/sumdb/tlog does.
func TestTilesProve(t *testing.T) {
	dir, key := filled(t, 777)
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	defer l.Close()
	_, signed := ask(t, l, http.MethodGet, "checkpoint", nil)
	c, err := openOwn(signed, key)
	must(t, err)
	reader := tlog.TileHashReader(tlog.Tree{N: c.Size, Hash: c.Root}, &tileReader{t, l})
	for _, i := range []int64{0, 1, 255, 256, 700, 776} {
		proof, err := tlog.ProveRecord(c.Size, i, reader)
		must(t, err)
		record, _ := recordOf(t, int(i), int(i)%5)
		must(t, tlog.CheckRecord(proof, c.Size, c.Root, i, tlog.RecordHash(record)))
	}
}

type tileReader struct {
	t *testing.T
	l *Log
}

func (r *tileReader) Height() int                         { return tileHeight }
func (r *tileReader) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		// Path writes the height, which C2SP tlog-tiles leaves out.
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
		code, body := ask(r.t, r.l, http.MethodGet, path, nil)
		if code != http.StatusOK {
			return nil, fmt.Errorf("%s: %d", path, code)
		}
		all = append(all, body)
	}
	return all, nil
}

func TestFindRequest(t *testing.T) {
	dir, key := filled(t, 20)
	l, err := Open(t.Context(), dir, key, Options{})
	must(t, err)
	defer l.Close()
	known, unknown := leafOf(13, 1), leafOf(13, 4)
	code, body := ask(t, l, http.MethodPost, "find", append(unknown[:], known[:]...))
	found, err := protocol.DecodeFound(body, 2)
	if code != http.StatusOK || err != nil || found[0] != -1 || found[1] != 13 {
		t.Errorf("%d: %v, %v", code, found, err)
	}
	for want, body := range map[int][]byte{
		http.StatusBadRequest: make([]byte, 33), http.StatusRequestEntityTooLarge: make([]byte, protocol.MaxBody+1), http.StatusOK: make([]byte, protocol.MaxBody),
	} {
		if code, _ := ask(t, l, http.MethodPost, "find", body); code != want {
			t.Errorf("%d bytes: %d", len(body), code)
		}
	}
	if code, _ := ask(t, l, http.MethodPost, "find", nil); code != http.StatusBadRequest {
		t.Errorf("no body: %d", code)
	}
	if code, _ := ask(t, l, http.MethodGet, "find", nil); code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", code)
	}
}
