//go:build cgo

package pkcs11

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// TestModulesThatGiveNothing checks modules that answer CKR_OK without a result or with wrong
// lengths. Each is an error and must not end the process.
func TestModulesThatGiveNothing(t *testing.T) {
	for name, c := range map[string]struct{ flags, open, sign string }{
		"good, but for its signatures": {"", "", ""},
		"no list":                      {"-DNO_LIST", "list of functions", ""},
		"list untouched":               {"-DNOTHING", "list of functions", ""},
		"no C_Initialize":              {"-DGAP=0", "list of functions", ""},
		"no C_GetSlotList":             {"-DGAP=4", "list of functions", ""},
		"no C_GetTokenInfo":            {"-DGAP=6", "list of functions", ""},
		"no C_GetAttributeValue":       {"-DGAP=24", "list of functions", ""},
		"no C_FindObjects":             {"-DGAP=27", "list of functions", ""},
		"no C_Sign":                    {"-DGAP=43", "list of functions", ""},
		"no slots":                     {"-DSLOTS=0", "not found", ""},
		"more slots than it said":      {"-DSLOTS_AGAIN=1000000", "", ""},
		"fewer":                        {"-DSLOTS=5 -DSLOTS_AGAIN=0", "not found", ""},
		"slots without end":            {"-DSLOTS=-1ul", "gave nothing", ""},
		"no token information":         {"-DNO_INFO", "not found", ""},
		"no objects":                   {"-DFOUND=0", "private key not found", ""},
		"more objects than asked for":  {"-DFOUND=1000000", "gave nothing", ""},
		"objects without end":          {"-DFOUND=-1ul", "gave nothing", ""},
		"no attributes":                {"-DNO_ATTRIBUTES", "key type", ""},
		"attributes of no bytes":       {"-DLENGTH(n)=0", "key type", ""},
		"attributes without end":       {"-DLENGTH(n)=(-2ul)", "key type", ""},
		"attributes that grow":         {"-DLENGTH_AGAIN(n)=((n)+1000000)", "key type", ""},
		"attributes that go":           {"-DLENGTH_AGAIN(n)=0", "key type", ""},
		"attributes that are cut":      {"-DLENGTH(n)=((n)/2) -DLENGTH_AGAIN(n)=((n)/2)", "", ""},
		"no signature":                 {"-DSIGNATURE=0", "", "gave nothing"},
		"a signature without end":      {"-DSIGNATURE=-1ul", "", "gave nothing"},
		"a short signature":            {"-DSIGNATURE=1", "", "no ECDSA signature"},
		"an odd signature":             {"-DSIGNATURE=63", "", "no ECDSA signature"},
		"a long signature":             {"-DSIGNATURE=4096", "", "no ECDSA signature"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			module := filepath.Join(t.TempDir(), "module.so")
			args := append([]string{"-shared", "-fPIC", "-w", "-o", module, "testdata/module.c"}, strings.Fields(c.flags)...)
			if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
				t.Fatalf("gcc: %v\n%s", err, out)
			}
			ctx := context.Background()
			key, err := New().Open(ctx, "pkcs11:token=T?module-path="+module, keystore.Options{})
			if c.open != "" || name == "attributes that are cut" {
				if err == nil || !strings.Contains(err.Error(), c.open) {
					t.Fatalf("opened: %v, want %q", err, c.open)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = key.Sign(ctx, ima.ContentSignature(), ima.SHA256, [][]byte{make([]byte, 32)})
			if (err == nil) != (c.sign == "") || err != nil && !strings.Contains(err.Error(), c.sign) {
				t.Errorf("signed: %v, want %q", err, c.sign)
			}
			if err := key.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
