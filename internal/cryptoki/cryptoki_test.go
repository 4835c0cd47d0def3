//go:build cgo

package cryptoki_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/cryptoki"
	"github.com/imasign/imasign-build/tests/harness"
)

// module compiles testdata/module.c.
func module(t *testing.T, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "module.so")
	args := append([]string{"-shared", "-fPIC", "-w", "-DRV=0", "-DLIST_RV=0", "-o", path, "testdata/module.c"}, flags...)
	if out, err := exec.Command(harness.Tool(t, "gcc"), args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func load(t *testing.T, flags ...string) *cryptoki.Module {
	t.Helper()
	m, err := cryptoki.Load(module(t, flags...))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLoad(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		want error
	}{
		"a module":                {module(t), nil},
		"no file":                 {"/nonexistent/module.so", cryptoki.ErrNoModule},
		"a text":                  {"cryptoki_test.go", cryptoki.ErrNoModule},
		"no C_GetFunctionList":    {module(t, "-DNO_LIST"), cryptoki.ErrNoModule},
		"one that fails":          {module(t, "-ULIST_RV", "-DLIST_RV=5"), cryptoki.ErrNothing},
		"a list without C_Login":  {module(t, "-DGAP=18"), cryptoki.ErrNothing},
		"a list without the last": {module(t, "-DGAP=59"), cryptoki.ErrNothing},
		"a list without C_GetMechanismList, which is not used": {module(t, "-DGAP=7"), nil},
	} {
		if _, err := cryptoki.Load(c.path); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAnswers checks answers that fit, that are empty, and that claim to be longer than
// the buffer, for each call that has one.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		count, rv                     string
		slots, find, attribute, signs string // what comes back: length, code, error
	}{
		{"3", "0", "3", "3", "3", "3"},
		{"0", "0", "0", "0", "0", "nothing"},
		{"4", "0", "4", "4", "4", "4"},
		{"5", "0", "5", "nothing", "5", "nothing"},
		{"1048576", "0", "1048576", "nothing", "1048576", "nothing"},
		{"1048577", "0", "nothing", "nothing", "0", "nothing"},
		{"-1ul", "0", "nothing", "nothing", "0", "nothing"},
		{"3", "5", "code 5", "code 5", "code 5", "code 5"},
	} {
		m := load(t, "-DCOUNT="+c.count, "-URV", "-DRV="+c.rv)
		slots, code, err := m.Slots()
		same(t, c.count+" slots", result(slots, code, err), c.slots)
		objects, code, err := m.Find(1, 4)
		same(t, c.count+" objects", result(objects, code, err), c.find)
		value, code := m.Attribute(1, 2, 3)
		same(t, c.count+" bytes of an attribute", result(value, code, nil), c.attribute)
		signature, code, err := m.Sign(1, []byte{2, 3}, 4)
		same(t, c.count+" bytes of a signature", result(signature, code, err), c.signs)
		if c.rv == "0" && c.count == "3" && (!slices.Equal(slots, []uint{10, 11, 12}) || !slices.Equal(objects, []uint{1, 2, 3}) ||
			string(value) != "aaa" || string(signature) != "\x06\x06\x06") {
			t.Errorf("%v, %v, %q, %q", slots, objects, value, signature)
		}
	}
}

func result[T any](list []T, code uint, err error) string {
	switch {
	case errors.Is(err, cryptoki.ErrNothing):
		return "nothing"
	case err != nil:
		return err.Error()
	case code != 0:
		return "code " + strconv.Itoa(int(code))
	}
	return strconv.Itoa(len(list))
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestNothingToSign(t *testing.T) {
	if signature, code, err := load(t).Sign(9, nil, 3); err != nil || code != 0 || string(signature) != "\x09\x09\x09" {
		t.Errorf("%q, %d, %v", signature, code, err)
	}
}

// TestLogin checks that a PIN arrives, and that an empty one arrives as NULL: a token with
// a keypad of its own asks there.
func TestLogin(t *testing.T) {
	m := load(t)
	for pin, want := range map[string]uint{"1234": 0, "": 0, "12345": 0xa0, "123": 0xa0, strings.Repeat("1", 1000): 0xa0} {
		if code := m.Login(1, 2, []byte(pin)); code != want {
			t.Errorf("%.10q: %#x", pin, code)
		}
	}
	if code := m.Login(1, 2, nil); code != 0 {
		t.Errorf("no PIN: %#x", code)
	}
}
