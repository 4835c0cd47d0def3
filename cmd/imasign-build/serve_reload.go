package main

import (
	"context"
	"errors"
	"os"
	"reflect"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/config"
)

// reloadOn reads the configuration again for each signal, until ctx ends.
func (s *service) reloadOn(ctx context.Context, signals <-chan os.Signal, systemd notifier) {
	for {
		select {
		case <-signals:
			systemd.reloading()
			if err := s.reload(ctx); err != nil {
				s.say("not reloaded, the old configuration stays in force: %v", s.app.advise(err))
			} else {
				s.say("reloaded: requesters: %d, rules: %d", len(s.conf.Requesters), len(s.conf.Rules))
			}
			systemd.send("READY=1")
		case <-ctx.Done():
			return
		}
	}
}

// errRestart means a change that only a restart makes effective.
var errRestart = errors.New("restart the service to change listen, metrics, log or keys")

// reload takes what may change from the file of the configuration: all of it or nothing.
func (s *service) reload(ctx context.Context) error {
	conf, err := config.Read(ctx, s.conf.File)
	if err != nil {
		return err
	}
	fixed := func(c *config.Config) []any { return []any{c.Listen, c.Metrics, c.Log, c.Keys} }
	if !reflect.DeepEqual(fixed(conf), fixed(s.conf)) {
		return errRestart
	}
	policy, store, err := s.policy(ctx, conf)
	if err != nil {
		return err
	}
	s.server.SetPolicy(policy)
	if s.approvals != nil {
		s.approvals.Close() // what was read can still be used
	}
	s.conf, s.approvals = conf, store
	limitMemory(conf)
	return nil
}
