package tarball

import (
	"archive/tar"
	"bytes"
	"maps"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// TestOtherXattrs checks which xattrs of an entry programs read differently, and what a
// verification sees in addition.
func TestOtherXattrs(t *testing.T) {
	const capability, evm = "security.capability", ima.XattrEVM
	schily := func(name, value string) record { return newRecord(keySCHILY+name, []byte(value)) }
	libarchive := func(name, base64 string) record { return newRecord(keyLIBARCHIVE+name, []byte(base64)) }
	rht := newRecord(keyRHT, []byte("label"))
	for name, tc := range map[string]struct {
		records []record
		others  map[string]string // "none" stands for nil
		second  bool
	}{
		"same":                  {records: []record{schily(capability, "ab"), libarchive(capability, "YWI")}},
		"only LIBARCHIVE":       {[]record{libarchive(capability, "YWI")}, map[string]string{capability: "none"}, false},
		"differ":                {[]record{libarchive(capability, "YWI"), schily(capability, "b")}, map[string]string{capability: "ab"}, false},
		"EVM only LIBARCHIVE":   {[]record{libarchive(evm, "YWI")}, map[string]string{evm: "none"}, true},
		"EVM differs":           {[]record{libarchive(evm, "YWI"), schily(evm, "b")}, map[string]string{evm: "ab"}, true},
		"RHT":                   {[]record{rht}, map[string]string{labelSELinux: "label"}, false},
		"RHT, then SCHILY":      {records: []record{rht, schily(labelSELinux, "label\x00")}},
		"RHT, then other label": {[]record{rht, schily(labelSELinux, "label")}, map[string]string{labelSELinux: "label"}, false},
		"SCHILY, then RHT":      {[]record{schily(labelSELinux, "label\x00"), rht}, map[string]string{labelSELinux: "label"}, false},
	} {
		x, err := xattrs(tc.records)
		check(t, err)
		got := map[string]string{}
		for name, value := range x.others() {
			if got[name] = string(value); value == nil {
				got[name] = "none"
			}
		}
		if !maps.Equal(got, tc.others) {
			t.Errorf("%s: %v, not %v", name, got, tc.others)
		}
		if second := x.second(); (second != nil) != tc.second {
			t.Errorf("%s: a verification sees %v, too", name, second)
		}
	}
	if err := checkGlobal([]record{rht}); err == nil {
		t.Error("a global header may set the label of all entries")
	}
}

// TestLinkMetadata checks that a hard link has the owner and the mode of its file, which are
// what programs extract.
func TestLinkMetadata(t *testing.T) {
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	check(t, w.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o755, Uid: 1}))
	check(t, w.WriteHeader(&tar.Header{Name: "b", Typeflag: tar.TypeLink, Linkname: "a", Mode: 0o4711, Uid: 2}))
	check(t, w.Close())
	a, err := inMemory(text.Bytes(), Options{})
	check(t, err)
	var list []signing.Entry
	for e, err := range a.Entries(t.Context()) {
		check(t, err)
		list = append(list, e)
	}
	if len(list) != 2 || list[1].Group != "a" || list[1].UID != 1 || list[1].Mode != list[0].Mode {
		t.Errorf("%+v", list)
	}
}
