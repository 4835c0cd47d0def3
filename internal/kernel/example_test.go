package kernel_test

import (
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/internal/kernel"
)

func Example() {
	version, err := kernel.ParseVersion("6.1.0-18-amd64") // uname -r
	if err != nil {
		fmt.Println(err)
		return
	}
	config, err := kernel.ReadConfig(strings.NewReader("CONFIG_IMA=y\nCONFIG_CRYPTO_ECDSA=m\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	k := kernel.Profile{Version: version, Config: config}
	fmt.Println(k.Version, k.Version.Before(6, 6), k.Config.Builtin("CONFIG_IMA"), k.Config.Value("CONFIG_CRYPTO_ECDSA"))
	// Output: 6.1 true true m
}
