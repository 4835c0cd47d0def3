package mirror_test

import (
	"fmt"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/mirror"
)

func ExampleNew() {
	m, err := mirror.New("https://builder:secret@cache.example/ima", mirror.Options{Cache: "/var/cache/imasign"})
	fmt.Println(m, err)
	_, err = mirror.New("ftp://cache.example/ima", mirror.Options{})
	fmt.Println(err)
	// Output:
	// https://cache.example/ima <nil>
	// not a cache mirror: scheme "ftp" is not https, http or file
}
