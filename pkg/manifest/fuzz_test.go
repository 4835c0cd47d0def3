package manifest_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/imasign/imasign-build/pkg/manifest"
)

// FuzzReader checks that input that a Reader accepts is written back as the same bytes,
// and that Catalog and Index agree with the Reader.
func FuzzReader(f *testing.F) {
	f.Add(render(f, full()))
	f.Add(render(f, packages(3)...))
	f.Add([]byte(entries(2, lineA, lineB)))
	f.Add([]byte(entries(1, `{"path":"a","path":"b","kind":"file","size":1e2,"mode":"0644","uid":0,"gid":0,"xattrs":{"a":"","\u0061":"00"}}`+"\n")))
	f.Add([]byte(entries(2, `{"path":"a","kind":"char","size":0,"mode":"0644","uid":0,"gid":0,"device":"1:3"}`+"\n", `{"path":"b","kind":"symlink","size":0,"mode":"0777","uid":0,"gid":0,"target":"../x"}`+"\n")))
	f.Add([]byte(entries(1, withVerity(`{"block_size":1024,"salt":"00"}`))))
	f.Add([]byte(entries(1, `{"path":"a","kind":"file","size":0,"mode":"0644","uid":0,"gid":0,"xattrs":{"security.evm":"050304010203040001ff"},"signature_version":3}`+"\n")))
	f.Add([]byte("\n{}\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := read(bytes.NewReader(text))
		_, catalogErr := manifest.NewCatalog(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			if !errors.Is(err, manifest.ErrFormat) || catalogErr == nil {
				t.Fatalf("reader: %v, catalog: %v", err, catalogErr)
			}
			return
		}
		if again := render(t, all...); !bytes.Equal(again, text) {
			t.Fatalf("accepted %q, written back as %q", text, again)
		}
		for d, err := range manifest.Diff(manifest.NewReader(bytes.NewReader(text)), manifest.NewReader(bytes.NewReader(text))) {
			t.Fatalf("differs from itself: %v, %v", d, err)
		}
		if len(all) != 1 {
			return
		}
		x := index(t, text)
		seen := map[string]int{}
		for _, l := range all[0].lines {
			got, ok, err := x.Find(l.Path, seen[l.Path])
			if err != nil || !ok || got.Size != l.Size || got.Path != l.Path || got.Target != l.Target || got.Device != l.Device {
				t.Fatalf("entry %d of %q: %v, %v", seen[l.Path], l.Path, ok, err)
			}
			seen[l.Path]++
		}
	})
}
