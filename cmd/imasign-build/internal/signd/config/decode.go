package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ErrInvalid means that a configuration has mistakes.
var ErrInvalid = errors.New("not a valid configuration")

// Error is a mistake in a configuration.
type Error struct {
	File string
	// Line and Column begin with 1. They are 0 where they are not known.
	Line, Column int
	Message      string
}

// Error returns file:line:column: message.
func (e *Error) Error() string {
	at := e.File
	if e.Line > 0 {
		at += ":" + strconv.Itoa(e.Line)
	}
	if e.Column > 0 {
		at += ":" + strconv.Itoa(e.Column)
	}
	return at + ": " + e.Message
}

// Is reports whether the target is [ErrInvalid].
func (*Error) Is(target error) bool { return target == ErrInvalid }

type position struct{ line, column int }

// decoder fills a Config from the nodes of a document. Go's names of types do not occur in its errors.
type decoder struct {
	file string
	at   map[string]position // by path, such as rules[0].keys
	errs []error
}

func (d *decoder) fault(n *yaml.Node, format string, args ...any) {
	d.errs = append(d.errs, &Error{d.file, n.Line, n.Column, fmt.Sprintf(format, args...)})
}

// document returns the root of the only document.
func document(file string, data []byte) (*yaml.Node, error) {
	var first, second yaml.Node
	in := yaml.NewDecoder(bytes.NewReader(data))
	switch err := in.Decode(&first); {
	case errors.Is(err, io.EOF), err == nil && len(first.Content) == 0:
		return nil, &Error{File: file, Message: "it is empty"}
	case err != nil:
		return nil, syntax(file, err)
	}
	switch err := in.Decode(&second); {
	case err == nil:
		return nil, &Error{file, second.Line, second.Column, "a second document: one file has one configuration"}
	case !errors.Is(err, io.EOF):
		return nil, syntax(file, err)
	}
	return first.Content[0], nil
}

// The text of a syntax error of the library.
var lined = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

func syntax(file string, err error) error {
	text := err.Error()
	found := lined.FindStringSubmatch(text)
	line, _ := strconv.Atoi(found[1])
	if strings.Contains(text, "unknown anchor") { // the rest may be the end of a secret that begins with an asterisk
		return &Error{File: file, Line: line, Message: "anchors and aliases are not used here"}
	}
	return &Error{File: file, Line: line, Message: "YAML: " + strings.TrimPrefix(text, found[0])}
}

// decode fills a value from a node.
func (d *decoder) decode(n *yaml.Node, into reflect.Value, path string) {
	d.at[path] = position{n.Line, n.Column}
	switch {
	case n.Kind == yaml.AliasNode, n.Anchor != "":
		d.fault(n, "anchors and aliases are not used here")
		return
	case n.Style&yaml.TaggedStyle != 0:
		d.fault(n, "tags are not used here")
		return
	case n.Tag == "!!null":
		d.fault(n, "%s has no value: remove the line, or write one", last(path))
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.decode(n, into.Elem(), path)
	case reflect.Struct:
		d.mapping(n, into, path)
	case reflect.Slice:
		d.sequence(n, into, path)
	default:
		d.scalar(n, into, path)
	}
}

func (d *decoder) sequence(n *yaml.Node, into reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.fault(n, "%s must be a list, such as [a, b]", last(path))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.decode(item, into.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

// field is a name that a mapping may have.
type field struct {
	name string
	want bool // it must be there
	at   int  // its index in the struct
}

func fieldsOf(t reflect.Type) (list []field) {
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" && name != "-" {
			list = append(list, field{name, t.Field(i).Tag.Get("want") != "", i})
		}
	}
	return list
}

func (d *decoder) mapping(n *yaml.Node, into reflect.Value, path string) {
	fields := fieldsOf(into.Type())
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	if n.Kind != yaml.MappingNode {
		d.fault(n, "%s must have names and values: %s", last(path), strings.Join(names, ", "))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == name.Value })
		switch {
		case name.Tag == "!!merge":
			d.fault(name, "merges are not used here")
			continue
		case name.Kind != yaml.ScalarNode, name.Anchor != "":
			d.fault(name, "a name is expected: %s", strings.Join(names, ", "))
			continue
		case at < 0:
			d.fault(name, "unknown name %q%s has %s", name.Value, inside(path), strings.Join(names, ", "))
			continue
		case seen[name.Value] > 0:
			d.fault(name, "%s is given twice, first on line %d", name.Value, seen[name.Value])
			continue
		}
		seen[name.Value] = name.Line
		d.decode(value, into.Field(fields[at].at), join(path, name.Value))
	}
	for _, f := range fields {
		if f.want && seen[f.name] == 0 {
			d.fault(n, "%s lacks %s", last(path), f.name)
		}
	}
}

func inside(path string) string { return ": " + last(path) }

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// last returns what a path is about, in the words of the file.
func last(path string) string {
	if path == "" {
		return "the configuration"
	}
	path = path[strings.LastIndexByte(path, '.')+1:]
	if list, _, is := strings.Cut(path, "["); is {
		return "an element of " + list
	}
	return path
}

func (d *decoder) scalar(n *yaml.Node, into reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.fault(n, "%s must be one value", last(path))
		return
	}
	switch into.Kind() {
	case reflect.Bool:
		if n.Tag != "!!bool" {
			d.fault(n, "%s must be true or false", last(path))
			return
		}
		into.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int, reflect.Int64:
		value, err := strconv.ParseInt(n.Value, 10, into.Type().Bits())
		if n.Tag != "!!int" || err != nil {
			d.fault(n, "%s must be a whole number", last(path))
			return
		}
		into.SetInt(value)
	default:
		if n.Tag != "!!str" && n.Tag != "!!timestamp" {
			d.fault(n, "%s must be text: put it in quotes", last(path)) // it may be a PIN, so it is not repeated
			return
		}
		into.SetString(n.Value)
	}
}
