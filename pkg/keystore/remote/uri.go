package remote

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imasign/imasign-build/internal/keyuri"
	"github.com/imasign/imasign-build/internal/protocol"
)

// ErrURI means that the text is not a valid https: URI of a key.
var ErrURI = errors.New("https URI")

const (
	defaultPort    = "7443"
	defaultTimeout = 2 * time.Minute
	minTimeout     = time.Second
	maxTimeout     = time.Hour
	maxServers     = 16
)

// location is a parsed https: URI: the servers, the name of the key, and sources of files and
// secrets, which are not read yet.
type location struct {
	servers []string // host:port
	key     string   // "" if the URI names a service only

	identity, ca, clientCert, clientKey, log string
	timeout                                  time.Duration
	patient                                  bool // timeout was given
}

// parseURI reads https://HOST[:PORT][,HOST[:PORT]…]/NAME?attribute=value&…. It refuses unknown
// attributes. Errors repeat no value.
func parseURI(uri string) (*location, error) {
	scheme, rest, _ := strings.Cut(uri, ":")
	rest, found := strings.CutPrefix(rest, "//")
	if !strings.EqualFold(scheme, "https") || !found {
		return nil, fmt.Errorf("%w: https:// comes first", ErrURI)
	}
	rest, query, _ := strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(rest, "/")
	l := &location{timeout: defaultTimeout}
	for host := range strings.SplitSeq(hosts, ",") {
		server, err := serverOf(host)
		if err != nil {
			return nil, err
		}
		if slices.Contains(l.servers, server) {
			return nil, fmt.Errorf("%w: a server comes twice", ErrURI)
		}
		l.servers = append(l.servers, server)
	}
	if len(l.servers) > maxServers {
		return nil, fmt.Errorf("%w: it names %d servers, at most %d are allowed", ErrURI, len(l.servers), maxServers)
	}
	if l.key = path; path != "" && protocol.CheckName(path) != nil {
		return nil, fmt.Errorf("%w: the name of a key has letters, digits, dots, underscores and hyphens", ErrURI)
	}
	if err := keyuri.Attributes(ErrURI, query, "&", map[string]bool{}, l.set); err != nil {
		return nil, err
	}
	if l.identity == "" {
		return nil, fmt.Errorf("%w: it names no requester: add identity=FILE, its key and certificate", ErrURI)
	}
	return l, nil
}

// serverOf checks a host, and adds the default port.
func serverOf(host string) (string, error) {
	if strings.ContainsAny(host, "@#%\\") || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%w: a server is written HOST:PORT, without user, password or percent-encoding", ErrURI)
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		if name, port, err = net.SplitHostPort(host + ":" + defaultPort); err != nil {
			return "", fmt.Errorf("%w: a server is written HOST:PORT, and an IPv6 address in brackets", ErrURI)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || name == "" {
		return "", fmt.Errorf("%w: a server has no host, or a wrong port", ErrURI)
	}
	server := net.JoinHostPort(strings.ToLower(name), port)
	if len(server) > protocol.MaxName {
		return "", fmt.Errorf("%w: the name of a server has more than %d bytes", ErrURI, protocol.MaxName)
	}
	return server, nil
}

func (l *location) set(name, value string) (err error) {
	if value == "" {
		return fmt.Errorf("%w: the value of %s is empty", ErrURI, name)
	}
	switch name {
	case "identity":
		l.identity = value
	case "ca":
		l.ca = value
	case "client-cert":
		l.clientCert = value
	case "client-key":
		l.clientKey = value
	case "log":
		l.log = value
	case "timeout":
		l.patient = true
		if l.timeout, err = time.ParseDuration(value); err != nil || l.timeout < minTimeout || l.timeout > maxTimeout {
			return fmt.Errorf("%w: timeout is a duration from 1s to 1h, such as 90s or 5m", ErrURI)
		}
	default:
		return fmt.Errorf("%w: attribute %s is not supported; there are: identity, ca, client-cert, client-key, log, timeout", ErrURI, name)
	}
	return nil
}

// String names the key. It contains no secret, and no name of a file.
func (l *location) String() string {
	return "https://" + strings.Join(l.servers, ",") + "/" + l.key
}
