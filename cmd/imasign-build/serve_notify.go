package main

import (
	"context"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// notifier tells systemd about the state of a service (sd_notify(3)). Without the variable
// NOTIFY_SOCKET it does nothing.
type notifier struct {
	getenv func(string) (string, bool)
}

// send sends one state, such as READY=1. Failures are ignored: systemd notices by its own timeouts.
func (n notifier) send(state string) {
	address, set := n.getenv("NOTIFY_SOCKET")
	if !set || address == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"}) // "@" is an abstract address in both
	if err != nil {
		return
	}
	_, _ = conn.Write([]byte(state))
	_ = conn.Close()
}

// reloading says that a reload has begun. It ends with READY=1.
func (n notifier) reloading() {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) == nil {
		n.send("RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(now.Nano()/1000, 10))
	}
}

// watch feeds the watchdog of systemd until ctx ends. alive returns only if the service is not
// deadlocked; a service that is not ready is alive.
func (n notifier) watch(ctx context.Context, alive func() string) {
	text, _ := n.getenv("WATCHDOG_USEC")
	usec, err := strconv.ParseInt(text, 10, 64)
	if err != nil || usec <= 0 {
		return
	}
	ticker := time.NewTicker(time.Duration(usec) * time.Microsecond / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			alive()
			n.send("WATCHDOG=1")
		case <-ctx.Done():
			return
		}
	}
}
