package keystore_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// A program lists its backends. Keys of other schemes are refused by name.
func Example() {
	backends := keystore.Backends{{
		Scheme: "file",
		Open: func(_ context.Context, path string, o keystore.Options) (*keystore.Key, error) {
			if o.Secret == nil {
				return nil, fmt.Errorf("open key %s: %w", path, keystore.ErrPassphraseNeeded)
			}
			return &keystore.Key{Provider: "an example"}, nil
		},
	}}
	ctx := context.Background()

	_, err := backends.Open(ctx, "file:x509_ima.key", keystore.Options{})
	fmt.Println(err)

	environment := map[string]string{"IMA_PASS": "correct horse"}
	secret, err := keystore.ParseSecretSource("env:IMA_PASS", func(name string) (string, bool) {
		value, set := environment[name]
		return value, set
	}, nil)
	if err != nil {
		panic(err)
	}
	key, err := backends.Open(ctx, "x509_ima.key", keystore.Options{Secret: secret})
	fmt.Println(key.Provider, err)

	_, err = backends.Open(ctx, "tpm2:0x81000001", keystore.Options{})
	fmt.Println(errors.Is(err, keystore.ErrSchemeNotBuilt))
	// Output:
	// open key x509_ima.key: the key is encrypted and needs its passphrase
	// an example <nil>
	// true
}
