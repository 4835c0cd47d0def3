package main

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/config"
)

// Limits of a running service.
const (
	serviceMemory = 32 << 20         // in bytes; the garbage collector aims at it, and the program itself comes on top
	drainTime     = 60 * time.Second // for batches that it took before it ends
)

func newServe(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve CONFIG",
		Short: "Run a signing service, or make and check its configuration",
		Long: `Serve signs digests for other hosts, over HTTP/2 with mutual TLS, until it gets SIGTERM or
SIGINT. The key stays on this machine. Requesters sign their requests; rules decide what each
of them gets; and a log has a record of every decision before it is answered. docs/service.md
describes CONFIG.

  serve init   makes a small service with everything that it needs
  serve check  checks a configuration, and opens the keys

On SIGHUP the service reads CONFIG again. New requesters, approvers, rules and TLS
certificates take effect at once, and the connections of removed requesters are closed. If
the file has mistakes, nothing changes. Other changes need a restart.

On SIGTERM it refuses new batches, finishes those that it has accepted, and ends. Each refused
or failed batch is a line on standard error.

/healthz, /readyz and, for Prometheus, /metrics are served at the address "metrics" in CONFIG.
The service supports Type=notify and WatchdogSec= of systemd.`,
		Example: `  imasign-build serve init --key image=keys/ --cert keys/x509_ima.crt service
  imasign-build serve service/serve.yaml`,
		Args: a.checkArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return runServe(cmd.Context(), a, args[0]) },
	}
	cmd.AddCommand(newServeInit(a), newServeCheck(a))
	return cmd
}

// runServe runs a service until ctx ends.
func runServe(ctx context.Context, a *app, file string) (err error) {
	if a.json {
		return usagef("--json has no effect: a service has no result")
	}
	guardMemory()
	saveMemory()
	reload := a.interrupts.serve()
	defer signal.Stop(reload)
	conf, err := config.Read(ctx, file)
	if err != nil {
		return err
	}
	s, err := a.openService(ctx, conf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	limitMemory(conf)
	listener, err := net.Listen("tcp", conf.Listen)
	if err != nil {
		return conf.Fault("listen", "%v", err)
	}
	stopStatus, err := s.serveStatus(conf)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer stopStatus()
	s.say("serving %s", listener.Addr())
	systemd := notifier{a.getenv}
	systemd.send("READY=1")
	background, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait() // before what they use is closed
	defer stop()
	all.Go(func() { s.reloadOn(background, reload, systemd) })
	all.Go(func() { systemd.watch(background, s.server.Unready) })
	all.Go(func() {
		<-background.Done()
		systemd.send("STOPPING=1")
		s.say("ending, in %s at most", drainTime)
	})
	return s.server.Serve(ctx, listener, drainTime)
}

// limitMemory makes the garbage collector work harder when much is in memory. Approved manifests
// may take as much as there is, so there is no limit with them.
func limitMemory(conf *config.Config) {
	limit := int64(serviceMemory)
	if conf.Approvals != "" {
		limit = math.MaxInt64
	}
	debug.SetMemoryLimit(limit)
}

// serveStatus answers monitoring until stop is called.
func (s *service) serveStatus(conf *config.Config) (stop func(), err error) {
	if conf.Metrics == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", conf.Metrics)
	if err != nil {
		return nil, conf.Fault("metrics", "%v", err)
	}
	const patience = 10 * time.Second
	server := &http.Server{Handler: s.server.Status(), ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10}
	go func() { _ = server.Serve(listener) }() // it ends when it is closed
	return func() { _ = server.Close() }, nil
}

// serve makes signals mean what they mean for a service: the first SIGTERM or SIGINT lets it
// drain, however long that takes, and the second one ends it at once. SIGHUP is for the caller, who
// calls [signal.Stop].
func (i *interrupts) serve() (reload chan os.Signal) {
	signal.Reset(syscall.SIGHUP)
	reload = make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.phase = serving
	return reload
}

// say prints a line about the service. The journal adds the time itself.
func (s *service) say(format string, args ...any) {
	if _, journal := s.app.getenv("JOURNAL_STREAM"); !journal {
		format = strings.ReplaceAll(time.Now().UTC().Format(time.RFC3339), "%", "%%") + " " + format
	}
	s.app.note(format, args...)
}
