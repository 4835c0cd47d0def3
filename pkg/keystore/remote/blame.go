package remote

import (
	"fmt"
	"slices"
)

// name warns once of a server that is not used again, when it works on nothing any more. If no
// other server is left, the error of the run says the same.
func (s *servers) name(one *server) {
	s.mu.Lock()
	tell := one.wrong && !one.named && one.batches == 0 && slices.ContainsFunc(s.list, func(other *server) bool { return !other.wrong })
	one.named = one.named || tell
	lies, err := one.lies, one.err
	s.mu.Unlock()
	switch {
	case !tell:
	case lies == 0:
		s.warn("%s: %v: this run does not use the server", one.address, err)
	default:
		s.warn("%s: %v: this run does not use the server again (batches answered falsely: %d)", one.address, err, lies)
	}
}

// explain returns why no server is usable: the error of each. cause is why nobody waits longer.
func (s *servers) explain(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []error
	for _, one := range s.list {
		if one.err != nil {
			all = append(all, fmt.Errorf("%s: %w", one.address, one.err))
		}
	}
	if all == nil {
		return cause
	}
	return &noServerError{all, cause}
}

// noServerError is the error of all servers together.
type noServerError struct {
	all   []error
	cause error
}

func (e *noServerError) Error() string {
	text := ""
	if e.cause != nil {
		text = e.cause.Error() + ": "
	}
	for i, err := range e.all {
		if i > 0 {
			text += "; "
		}
		text += err.Error()
	}
	return text
}

func (e *noServerError) Unwrap() []error {
	if e.cause != nil {
		return append([]error{e.cause}, e.all...)
	}
	return e.all
}
