package main

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/pkg/ima"
)

// cacheKeyFlags choose signatures of a cache by the keys that made them.
type cacheKeyFlags struct{ certs, ids []string }

// add adds the flags. verb is what the command does with the chosen signatures.
func (f *cacheKeyFlags) add(flags *pflag.FlagSet, verb string) {
	flags.StringArrayVar(&f.certs, "cert", nil, verb+" only signatures by the key whose certificate is in `FILE`, PEM or DER; in a directory, x509_ima.crt")
	flags.StringArrayVar(&f.ids, "key-id", nil, verb+` only signatures by the key with the id `+"`ID`"+`, as "cache stats" prints it`)
}

// given reports whether the flags choose anything.
func (f *cacheKeyFlags) given() bool { return len(f.certs)+len(f.ids) > 0 }

// chosen reports whether an entry is chosen.
type chosen func(*sigcache.Entry) bool

// open reads the certificates. Without flags, every entry is chosen.
func (f *cacheKeyFlags) open(ctx context.Context) (chosen, error) {
	if !f.given() {
		return func(*sigcache.Entry) bool { return true }, nil
	}
	var keys [][]byte
	for _, path := range f.certs {
		list, file, err := readCertificates(ctx, path, fileSigner)
		if err != nil {
			return nil, err
		}
		for _, cert := range list {
			public, err := ima.CertificateKey(cert)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			key, err := sigcache.KeyOf(public)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			keys = append(keys, key)
		}
	}
	ids := map[ima.KeyID]bool{}
	for _, text := range f.ids {
		id, err := ima.ParseKeyID(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("--key-id: %w", err)}
		}
		ids[id] = true
	}
	return perKey(func(e *sigcache.Entry) bool {
		for _, key := range keys {
			if bytes.Equal(key, e.Key) {
				return true
			}
		}
		if len(ids) == 0 {
			return false
		}
		public, err := e.Public()
		return err == nil && ids[public.ID()]
	}), nil
}

// perKey asks once for each key. A hostile cache can have any number of keys: only some are
// remembered.
func perKey(ask chosen) chosen {
	const most = 256
	known := map[string]bool{}
	return func(e *sigcache.Entry) bool {
		answer, is := known[string(e.Key)]
		if !is {
			if len(known) == most {
				clear(known)
			}
			answer = ask(e)
			known[string(e.Key)] = answer
		}
		return answer
	}
}

// of yields those entries that are chosen. It calls skip, if it is not nil, for each of the
// others.
func (c chosen) of(entries iter.Seq2[sigcache.Entry, error], skip func()) iter.Seq2[sigcache.Entry, error] {
	return func(yield func(sigcache.Entry, error) bool) {
		for e, err := range entries {
			if err == nil && !c(&e) {
				if skip != nil {
					skip()
				}
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
