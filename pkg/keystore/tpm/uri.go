package tpm

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/internal/keyuri"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// ErrURI means that the text is not a valid tpm2: URI of a key.
var ErrURI = errors.New("tpm2 URI")

// ErrHash is a [keystore.ErrKeyUse]: the TPM does not know the digest algorithm.
var ErrHash = fmt.Errorf("%w: unknown digest algorithm", keystore.ErrKeyUse)

// defaultDevice is the kernel's resource manager, through which several programs can use the
// TPM at once.
const defaultDevice = "/dev/tpmrm0"

// location is a parsed tpm2: URI: a key file or a persistent handle, the device, and the
// sources of secrets, which are not read yet.
type location struct {
	path   string
	handle uint32 // of a persistent object, 0 for a file
	device string
	auth   string // source of the key's authorization value, "none" for an empty one
	owner  string // source of the owner hierarchy's
}

// parseURI reads tpm2:PATH or tpm2:0xHANDLE, each followed by ?name=value&…. It refuses
// unknown attributes. Errors repeat no value.
func parseURI(uri string) (*location, error) {
	scheme, rest, _ := strings.Cut(uri, ":")
	if !strings.EqualFold(scheme, "tpm2") {
		return nil, fmt.Errorf("%w: tpm2: comes first", ErrURI)
	}
	rest, query, _ := strings.Cut(rest, "?")
	name, err := url.PathUnescape(rest)
	if err != nil || strings.ContainsRune(name, 0) {
		return nil, fmt.Errorf("%w: the path is not percent-encoded as it must be", ErrURI)
	}
	l := &location{path: name, device: defaultDevice}
	if strings.HasPrefix(name, "0x") || strings.HasPrefix(name, "0X") {
		if err := l.setHandle(name); err != nil {
			return nil, err
		}
	}
	return l, keyuri.Attributes(ErrURI, query, "&", map[string]bool{}, l.set)
}

func (l *location) setHandle(text string) error {
	n, err := strconv.ParseUint(text[2:], 16, 32)
	if err != nil {
		return fmt.Errorf("%w: %q is no handle; a file of that name is ./%[2]s", ErrURI, text)
	}
	if n>>24 != 0x81 {
		return fmt.Errorf("%w: %s is not the handle of a persistent object, which is between 0x81000000 and 0x81ffffff: tpm2_evictcontrol makes an object persistent", ErrURI, text)
	}
	l.path, l.handle = "", uint32(n)
	return nil
}

func (l *location) set(name, value string) error {
	if value == "" {
		return fmt.Errorf("%w: the value of %s is empty", ErrURI, name)
	}
	switch name {
	case "device":
		l.device = value
	case "auth-source":
		l.auth = value
	case "owner-auth-source":
		l.owner = value
	default:
		return fmt.Errorf("%w: attribute %s is not supported; there are: device, auth-source, owner-auth-source", ErrURI, name)
	}
	return nil
}

// String names the key. It contains no secret.
func (l *location) String() string {
	if l.handle != 0 {
		return fmt.Sprintf("tpm2:0x%08x", l.handle)
	}
	return "tpm2:" + l.path
}
