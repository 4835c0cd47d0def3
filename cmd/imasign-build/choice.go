package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// option is a word that a flag takes, and what it means in a few words. The meaning may be
// empty.
type option struct{ word, meaning string }

// words returns options without meanings.
func words[T ~string](list ...T) []option {
	var options []option
	for _, word := range list {
		options = append(options, option{word: string(word)})
	}
	return options
}

// choice is the value of a flag that takes one word of a list.
type choice struct {
	value   *string
	options []option
	accept  func(string) error // checks a word that is not in the list; nil refuses it
}

// choiceVar adds a flag that takes one of the options. The options follow usage in the
// flag's description.
func choiceVar(flags *pflag.FlagSet, value *string, name, initial, usage string, options []option) *choice {
	*value = initial
	c := &choice{value: value, options: options}
	flags.Var(c, name, usage+": "+enumerate(described(options), "or"))
	return c
}

// String returns the word.
func (c *choice) String() string {
	if c.value == nil { // pflag calls String of a zero choice
		return ""
	}
	return *c.value
}

// Type is the flag's metavariable.
func (*choice) Type() string { return "CHOICE" }

// Set takes a word. An unknown word is an error that lists the options.
func (c *choice) Set(word string) error {
	switch {
	case isOption(c.options, word):
	case c.accept != nil:
		if err := c.accept(word); err != nil {
			return err
		}
	default:
		return unknownWord(c.options, word)
	}
	*c.value = word
	return nil
}

// choices is the value of a flag that takes several words of a list.
type choices struct {
	values  *[]string
	options []option
}

// choicesVar adds a flag that takes some of the options, separated by commas or in
// several flags.
func choicesVar(flags *pflag.FlagSet, values *[]string, name, usage string, options []option) {
	flags.Var(&choices{values, options}, name, usage+": "+enumerate(described(options), "and"))
}

// String returns the words, separated by commas.
func (c *choices) String() string {
	if c.values == nil { // pflag calls String of a zero choices
		return ""
	}
	return strings.Join(*c.values, ",")
}

// Type is the flag's metavariable.
func (*choices) Type() string { return "LIST" }

// Set adds words. An unknown word is an error that lists the options.
func (c *choices) Set(list string) error {
	added := strings.Split(list, ",")
	for _, word := range added {
		if !isOption(c.options, word) {
			return unknownWord(c.options, word)
		}
	}
	*c.values = append(*c.values, added...)
	return nil
}

func isOption(options []option, word string) bool {
	return slices.ContainsFunc(options, func(o option) bool { return o.word == word })
}

// optionWords returns the words of options.
func optionWords(options []option) []string {
	var list []string
	for _, o := range options {
		list = append(list, o.word)
	}
	return list
}

func unknownWord(options []option, word string) error {
	list := optionWords(options)
	near := nearest(word, list)
	if len(near) == len(list) { // the question would repeat the list
		near = nil
	}
	return fmt.Errorf("choose %s%s", enumerate(list, "or"), didYouMean("; did you mean ", near))
}

// described returns options as a description lists them: "none" or "restore (a file)".
func described(options []option) []string {
	var list []string
	for _, o := range options {
		text := o.word
		if o.meaning != "" {
			text += " (" + o.meaning + ")"
		}
		list = append(list, text)
	}
	return list
}

// enumerate joins a list as a sentence does: "a, b or c".
func enumerate(list []string, conjunction string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " " + conjunction + " " + list[last]
}

// byteCount is the value of a flag that takes a number of bytes, in units of 1024 with a
// suffix: 500M.
type byteCount struct{ value *int64 }

const byteUnits = "KMGT"

var errByteCount = errors.New("give a number of bytes from 1, with or without K, M, G or T, such as 500M")

// String returns the number with the largest suffix that fits.
func (c byteCount) String() string {
	if c.value == nil { // pflag calls String of a zero byteCount
		return ""
	}
	n, suffix := *c.value, ""
	for _, unit := range byteUnits {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, suffix = n/1024, string(unit)
	}
	return strconv.FormatInt(n, 10) + suffix
}

// Type is the flag's metavariable.
func (byteCount) Type() string { return "BYTES" }

// Set takes a positive number.
func (c byteCount) Set(text string) error {
	factor := int64(1)
	if at := len(text) - 1; at >= 0 {
		if unit := strings.IndexByte(byteUnits, text[at]); unit >= 0 {
			text, factor = text[:at], 1<<(10*(unit+1))
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > math.MaxInt64/factor {
		return errByteCount
	}
	*c.value = n * factor
	return nil
}
