package pkgheader_test

import (
	"fmt"
	"os"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/pkgheader"
)

func Example() {
	keyring, err := os.ReadFile(vectors + "keys/openpgp-ed25519.asc")
	if err != nil {
		fmt.Println(err)
		return
	}
	checker, err := pkgheader.New(keyring, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = checker.Check([]byte("no header"), nil, time.Now())
	fmt.Println(err)
	// Output:
	// the package header is refused: main header: malformed package: it does not start with a header's magic
}
