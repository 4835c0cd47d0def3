package selection

import (
	"fmt"
	"strings"
)

// Limits of what one pattern expands to, because each pair of braces multiplies the
// alternatives.
const (
	maxAlternatives = 1000
	maxExpanded     = 1 << 20 // bytes, of all alternatives together
)

// expand returns the alternatives of a pattern: "ab" and "ac" for "a{b,c}". It also
// changes the shell's negated classes, "[!a]", into those of package path, "[^a]".
func expand(text string) ([]string, error) {
	e := expander{rest: text}
	all, err := e.sequence(0)
	if err == nil && e.rest != "" {
		err = fmt.Errorf("%w: a } without a { (for a literal } write \\})", ErrPattern)
	}
	return all, err
}

// expander reads a pattern once, from left to right.
type expander struct{ rest string }

// sequence reads to the end of the pattern, or inside braces to the next comma or
// closing brace.
func (e *expander) sequence(depth int) ([]string, error) {
	all := []string{""}
	for e.rest != "" && e.rest[0] != '}' && (depth == 0 || e.rest[0] != ',') {
		parts := []string{""}
		var err error
		if e.rest[0] == '{' {
			parts, err = e.braces(depth + 1)
		} else {
			parts[0], err = e.plain(depth)
		}
		if err != nil {
			return nil, err
		}
		if all, err = product(all, parts); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// braces reads one pair of braces.
func (e *expander) braces(depth int) ([]string, error) {
	if depth > 20 {
		return nil, fmt.Errorf("%w: braces are nested too deeply", ErrPattern)
	}
	var all []string
	for {
		e.rest = e.rest[1:] // the opening brace or a comma
		some, err := e.sequence(depth)
		if err != nil {
			return nil, err
		}
		if all = append(all, some...); len(all) > maxAlternatives {
			return nil, tooMany()
		}
		switch {
		case e.rest == "":
			return nil, fmt.Errorf("%w: a { without a } (for a literal { write \\{)", ErrPattern)
		case e.rest[0] == '}':
			e.rest = e.rest[1:]
			return all, nil
		}
	}
}

// plain reads text that has no alternatives.
func (e *expander) plain(depth int) (string, error) {
	var b strings.Builder
	for e.rest != "" {
		n := 1
		switch c := e.rest[0]; {
		case c == '{' || c == '}' || c == ',' && depth > 0:
			return b.String(), nil
		case c == '[':
			var err error
			if n, err = class(e.rest); err != nil {
				return "", err
			}
		case c == '\\':
			n = 2
		}
		if n > len(e.rest) {
			return "", ErrPattern
		}
		part := e.rest[:n]
		if strings.HasPrefix(part, "[!") {
			part = "[^" + part[2:]
		}
		b.WriteString(part)
		e.rest = e.rest[n:]
	}
	return b.String(), nil
}

// class returns the length of the character class that text begins with. Braces
// and commas in it are plain characters.
func class(text string) (int, error) {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '[':
			if strings.HasPrefix(text[i:], "[:") {
				return 0, fmt.Errorf("%w: classes such as [:alpha:] are not supported: write [a-zA-Z]", ErrPattern)
			}
		case ']':
			return i + 1, nil
		}
	}
	return 0, fmt.Errorf("%w: a [ without a ] (for a literal [ write \\[)", ErrPattern)
}

func product(heads, tails []string) ([]string, error) {
	if len(heads)*len(tails) > maxAlternatives || len(tails)*length(heads)+len(heads)*length(tails) > maxExpanded {
		return nil, tooMany()
	}
	if len(heads) == 1 && heads[0] == "" {
		return tails, nil
	}
	all := make([]string, 0, len(heads)*len(tails))
	for _, head := range heads {
		for _, tail := range tails {
			all = append(all, head+tail)
		}
	}
	return all, nil
}

func length(texts []string) (n int) {
	for _, text := range texts {
		n += len(text)
	}
	return n
}

func tooMany() error {
	return fmt.Errorf("%w: its braces expand to more than %d alternatives or %d bytes", ErrPattern, maxAlternatives, maxExpanded)
}
