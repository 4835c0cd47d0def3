package pkcs11

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/internal/keyuri"
)

// Errors beyond those of package keystore.
var (
	// ErrURI means that the text is not a valid PKCS#11 URI of a key.
	ErrURI = errors.New("PKCS#11 URI")
	// ErrExists means that the token already has a key of that name.
	ErrExists = errors.New("exists already in the token")
	// ErrSeveralCertificates means that the key has certificates with different key ids.
	ErrSeveralCertificates = errors.New("several certificates of the key")
	// ErrNoPublicKey means that signatures could not be verified.
	ErrNoPublicKey = errors.New("neither the public key nor the certificate is there")
)

// location is a parsed PKCS#11 URI (RFC 7512): attributes of a token, attributes of an
// object in it, and the module.
type location struct {
	token, manufacturer, model, serial string
	slot                               *uint
	object                             string
	id                                 []byte
	module, pinSource                  string
}

// parseURI reads a PKCS#11 URI. It refuses unknown attributes, because one of them might
// distinguish two keys. Errors wrap ErrURI and repeat no value, which may contain a PIN.
func parseURI(uri string) (*location, error) {
	scheme, rest, _ := strings.Cut(uri, ":")
	if !strings.EqualFold(scheme, "pkcs11") {
		return nil, fmt.Errorf("%w: pkcs11: comes first", ErrURI)
	}
	path, query, _ := strings.Cut(rest, "?")
	var l location
	met := map[string]bool{}
	if err := keyuri.Attributes(ErrURI, path, ";", met, l.setPath); err != nil {
		return nil, err
	}
	if err := keyuri.Attributes(ErrURI, query, "&", met, l.setQuery); err != nil {
		return nil, err
	}
	if l.module == "" {
		return nil, fmt.Errorf("%w: no module-path: write ?module-path=/PATH/OF/THE/MODULE.so behind it", ErrURI)
	}
	return &l, nil
}

func (l *location) setPath(name, value string) error {
	switch name {
	case "token":
		l.token = value
	case "manufacturer":
		l.manufacturer = value
	case "model":
		l.model = value
	case "serial":
		l.serial = value
	case "object":
		l.object = value
	case "id":
		l.id = []byte(value)
	case "slot-id":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return fmt.Errorf("%w: slot-id is a decimal number", ErrURI)
		}
		slot := uint(n)
		l.slot = &slot
	case "type":
		if value != "private" {
			return fmt.Errorf("%w: type: a private key signs, write type=private or leave it out", ErrURI)
		}
	default:
		return fmt.Errorf("%w: attribute %s is not supported; there are: token, manufacturer, model, serial, slot-id, object, id", ErrURI, name)
	}
	return nil
}

func (l *location) setQuery(name, value string) error {
	switch name {
	case "module-path":
		if !strings.HasPrefix(value, "/") {
			return fmt.Errorf("%w: module-path is an absolute path", ErrURI)
		}
		l.module = value
	case "pin-source":
		if strings.HasPrefix(value, "|") {
			return fmt.Errorf("%w: pin-source runs no commands: file:PATH, env:NAME, fd:N or cred:NAME", ErrURI)
		}
		l.pinSource = value
	case "pin-value":
		return fmt.Errorf("%w: pin-value shows the PIN to every process on this machine: pin-source=file:PATH names where it is", ErrURI)
	case "module-name":
		return fmt.Errorf("%w: module-name is not looked up: module-path names the file", ErrURI)
	default:
		return fmt.Errorf("%w: attribute %s is not supported; there are: module-path, pin-source", ErrURI, name)
	}
	return nil
}

// String returns the part that names token and object. It contains no secret.
func (l *location) String() string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+"="+escape(value))
		}
	}
	add("token", l.token)
	add("manufacturer", l.manufacturer)
	add("model", l.model)
	add("serial", l.serial)
	if l.slot != nil {
		add("slot-id", strconv.FormatUint(uint64(*l.slot), 10))
	}
	add("object", l.object)
	add("id", string(l.id))
	return "pkcs11:" + strings.Join(parts, ";")
}

// uri returns the whole URI, as parseURI reads it.
func (l *location) uri() string {
	s := l.String() + "?module-path=" + escape(l.module)
	if l.pinSource != "" {
		s += "&pin-source=" + escape(l.pinSource)
	}
	return s
}

// escape percent-encodes all characters except RFC 3986's unreserved ones and those that keep
// a path legible.
func escape(value string) string {
	var b strings.Builder
	for _, c := range []byte(value) {
		plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~/:", c) >= 0
		if plain {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
