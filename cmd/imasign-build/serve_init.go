package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/config"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/setup"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

type serveInitOptions struct {
	key     keyFlags
	listen  string
	metrics string
}

func newServeInit(a *app) *cobra.Command {
	var o serveInitOptions
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a small signing service with everything that it needs",
		Long: `Init makes DIR with a signing service for one key and one requester:

  serve.yaml      the configuration
  tls/            a CA for TLS, and the certificate of the server
  log/, log.key   an empty log, and the key that signs its checkpoints
  requester/      what a build host needs: its key and certificate, the CA, the log's key

If another program has port 7443 or 9443, init takes a free port instead, and says so.

It prints the --key with which the requester uses the service. "imasign-build serve
DIR/serve.yaml" starts it. For a requester on another host, give --listen a name of this one,
move requester/ there, and delete it here.

The signing key stays where it is: serve.yaml names it. The requester gets any digest signed,
in the forms that the key is for, until you write narrower rules. tls/ca.key is only needed to
make more certificates: keep it elsewhere. Private files have mode 0600. If DIR exists,
nothing is done.`,
		Example: `  imasign-build serve init --key image=keys/ --cert keys/x509_ima.crt service
  imasign-build serve init --key 'image=pkcs11:token=T?module-path=/M.so' \
      --cert image.crt --key-pass file:pin --listen signer.example:7443 service`,
		RunE: func(cmd *cobra.Command, args []string) error {
			flags := cmd.Flags()
			notes := o.freePorts(!flags.Changed("listen"), !flags.Changed("metrics"))
			if err := runServeInit(cmd.Context(), a, o, args[0]); err != nil {
				return err
			}
			for _, note := range notes {
				a.note("%s", note)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.key.key, "key", "", "sign with the key `URI`, after NAME=, by which clients call it: a file, a directory with x509_ima.key, or a file:, pkcs11: or tpm2: URI")
	flags.StringVar(&o.key.cert, "cert", "", "certificate of --key in `FILE`, PEM or DER; it determines the key id")
	o.key.addPass(flags, "--key")
	purposeVar(flags, &o.key.purpose)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:7443", "take connections at `ADDRESS`, the host and port by which clients call the service")
	flags.StringVar(&o.metrics, "metrics", "127.0.0.1:9443", "answer monitoring at the loopback `ADDRESS`; \"\" for none")
	once(flags, "key", "cert", "listen", "metrics")
	return cmd
}

func runServeInit(ctx context.Context, a *app, o serveInitOptions, dir string) error {
	guardMemory()
	name, uri, found := strings.Cut(o.key.key, "=")
	switch {
	case o.key.key == "":
		return usagef("no key was given: --key NAME=URI")
	case !found || uri == "":
		return usagef("--key takes a name and a URI here: --key NAME=URI")
	case protocol.CheckName(name) != nil:
		return usagef("--key %s=…: a name has letters, digits, dots, underscores and hyphens, and begins with none of .-", name)
	case o.key.cert == "":
		return usagef("no certificate was given: --cert FILE")
	}
	o.key.key = uri
	key, err := o.key.open(ctx, a)
	if err != nil {
		return err
	}
	forms := formsFor(key.Public)
	if err := key.Close(); err != nil {
		return err
	}
	configured, err := o.configured(a, name)
	if err != nil {
		return err
	}
	made, err := setup.Init(ctx, dir, setup.Options{Key: configured, Forms: forms, Listen: o.listen, Metrics: o.metrics})
	switch {
	case errors.Is(err, setup.ErrListen):
		return usagef("--listen %v", err)
	case errors.Is(err, config.ErrInvalid):
		return usagef("the flags make no configuration: %w", err)
	case err != nil:
		return err
	}
	r := &report.NewService{Head: report.Head{Command: "serve init"}, Path: report.PathOf(dir), URI: made.URI, Certificate: configured.Certificate, Files: made.Files}
	return a.print(r, nil)
}

// freePorts replaces ports that were not asked for, and that another program has, perhaps another service on
// this machine. It returns what to tell about them.
func (o *serveInitOptions) freePorts(listen, metrics bool) (notes []string) {
	take := func(wanted bool, what string, address *string) {
		if !wanted {
			return
		}
		l, err := net.Listen("tcp", *address)
		if errors.Is(err, syscall.EADDRINUSE) {
			host, port, _ := net.SplitHostPort(*address)
			if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err == nil {
				*address = l.Addr().String()
				notes = append(notes, fmt.Sprintf("port %s is taken, so %s is %s", port, what, *address))
			}
		}
		if err == nil {
			defer l.Close() //nolint:errcheck // nobody connected
		}
	}
	take(listen, "listen", &o.listen)
	take(metrics, "metrics", &o.metrics)
	return notes
}

// configured returns the key as a configuration has it: with absolute paths.
func (o *serveInitOptions) configured(a *app, name string) (config.Key, error) {
	k := config.Key{Name: name, URI: o.key.key, For: o.key.purpose}
	var err error
	if path, is, _ := keystore.FilePath(o.key.key); is {
		if path, err = filepath.Abs(path); err != nil {
			return k, err
		}
		k.URI = "file:" + path
	} else if path, query, is := tpmFile(o.key.key); is {
		if path, err = filepath.Abs(path); err != nil {
			return k, err
		}
		k.URI = tpmURI(path, query)
	}
	if k.Certificate, err = certificateFile(o.key.cert, fileSigner); err == nil {
		k.Certificate, err = filepath.Abs(k.Certificate)
	}
	if err != nil {
		return k, err
	}
	_, k.Pass = o.key.source(a)
	if path, is := strings.CutPrefix(k.Pass, "file:"); is {
		if path, err = filepath.Abs(path); err != nil {
			return k, err
		}
		k.Pass = "file:" + path
	}
	if strings.HasPrefix(k.Pass, "fd:") {
		return k, usagef("--key-pass %s: a service that is started later has no such descriptor: name env:, file: or cred:", k.Pass)
	}
	return k, nil
}

// formsFor returns the names of the forms that a key makes.
func formsFor(key *ima.PublicKey) []string {
	switch key.Purpose() {
	case ima.ForV3:
		return []string{"v3", "verity", "evm-v3"}
	case ima.ForEVM:
		return []string{"evm"}
	}
	return []string{"v2"}
}
