package mirror

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// ErrName means that the name of a mirror is wrong.
var ErrName = errors.New("not a cache mirror")

// parse returns the URL of a mirror on a web server, or the path of one in a directory. Errors
// do not contain what is before an @, which may be a password.
func parse(name string) (*url.URL, string, error) {
	scheme, rest, ok := strings.Cut(name, ":")
	if scheme = strings.ToLower(scheme); !ok || scheme != "file" && scheme != "http" && scheme != "https" {
		if strings.HasPrefix(rest, "//") {
			return nil, "", fmt.Errorf("%w: scheme %q is not https, http or file", ErrName, scheme)
		}
		if name == "" {
			return nil, "", fmt.Errorf("%w: it is empty", ErrName)
		}
		if first, _, _ := strings.Cut(name, "/"); ok && strings.Contains(first, "@") && strings.IndexByte(first, ':') < strings.LastIndexByte(first, '@') {
			return nil, "", fmt.Errorf("%w: a URL with a user and a password begins with https://, and the path of such a directory with ./", ErrName)
		}
		return nil, name, nil
	}
	shown := name
	if at := strings.LastIndex(name, "@"); at >= 0 {
		shown = scheme + "://" + name[at+1:]
	}
	u, err := url.Parse(name)
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("%w: %q is not a URL", ErrName, shown) // err may contain the password
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, "", fmt.Errorf("%w: %q: it must not have ? or #", ErrName, shown)
	case scheme == "file" && (u.Host == "" || u.Host == "localhost") && u.User == nil && filepath.IsAbs(u.Path):
		return nil, u.Path, nil
	case scheme == "file":
		return nil, "", fmt.Errorf("%w: %q: write file: and an absolute path", ErrName, shown)
	case u.Host == "":
		return nil, "", fmt.Errorf("%w: %q names no host", ErrName, shown)
	}
	return u, "", nil
}
