package report

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Kind is a document and the commands that print it.
type Kind struct {
	Title    string
	Commands []string
	Document Document
}

// Kinds are all documents. A command that prints one of two is named with both.
func Kinds() []Kind {
	return []Kind{
		{"Signing and stripping", []string{"rootfs sign", "rootfs strip", "tar sign", "tar strip", "tar create", "image sign", "manifest sign", "manifest apply"}, &Change{}},
		{"Packages", []string{"rpm sign", "rpm strip", "repo sign", "repo strip", "manifest apply"}, &PackageChange{}},
		{"Verifying", []string{"rootfs verify", "tar verify", "image verify"}, &Verification{}},
		{"Verifying packages", []string{"rpm verify"}, &PackageVerification{}},
		{"Verifying repositories", []string{"repo verify"}, &RepositoryVerification{}},
		{"Metadata", []string{"repo refresh"}, &Refresh{}},
		{"Package headers", []string{"rpm show"}, &PackageInfos{}},
		{"Digests of packages", []string{"rpm digests"}, &Digests{}},
		{"An archive without `--sign`", []string{"tar create"}, &Archive{}},
		{"Partitions and file systems", []string{"image list"}, &Image{}},
		{"Private keys in a tree", []string{"rootfs scan"}, &Scan{}},
		{"Manifests", []string{"manifest diff"}, &Diff{}},
		{"An approval", []string{"approve"}, &Approval{}},
		{"New keys", []string{"key init"}, &NewKeys{}},
		{"A certificate request", []string{"key request"}, &Request{}},
		{"Keys and certificates", []string{"key show"}, &Keys{}},
		{"Rules for certificates", []string{"key check"}, &KeyCheck{}},
		{"Rules for policies", []string{"policy check"}, &PolicyCheck{}},
		{"A written policy", []string{"policy generate"}, &Policy{}},
		{"A policy on a tree", []string{"policy simulate"}, &Simulation{}},
		{"An initramfs", []string{"initramfs bundle"}, &Bundle{}},
		{"Contents of a signature cache", []string{"cache stats"}, &CacheStats{}},
		{"Verifying a signature cache", []string{"cache verify"}, &CacheCheck{}},
		{"Cleaning a signature cache", []string{"cache prune"}, &CachePrune{}},
		{"Sharing a signature cache", []string{"cache export"}, &CacheExport{}},
		{"Importing signatures", []string{"cache import"}, &CacheImport{}},
		{"A new signing service", []string{"serve init"}, &NewService{}},
		{"The configuration of a signing service", []string{"serve check"}, &ServiceCheck{}},
		{"Verifying logs", []string{"audit verify"}, &AuditVerification{}},
		{"Records of logs", []string{"audit show"}, &AuditRecords{}},
		{"A copy of a log", []string{"audit export"}, &AuditExport{}},
		{"Signatures in logs", []string{"audit prove"}, &AuditProof{}},
		{"The program", []string{"version"}, &Version{}},
	}
}

// field is a name in a document.
type field struct {
	name, typ string
	optional  bool
	below     []field // of the object, or of an array's objects
}

// fields returns the fields of a struct in the order of JSON, including those of embedded
// structs.
func fields(t reflect.Type) (list []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			list = append(list, fields(f.Type)...)
		case f.IsExported() && name != "-":
			typ, below := typeOf(f.Type)
			list = append(list, field{name, typ, strings.HasPrefix(options, "omit"), below})
		}
	}
	return list
}

// typeOf returns the JSON type of a Go type, and the fields of an object.
func typeOf(t reflect.Type) (string, []field) {
	switch {
	case t == reflect.TypeFor[time.Time](), t == reflect.TypeFor[[]byte](), t.Kind() == reflect.String:
		return "string", nil
	case t.Kind() == reflect.Bool:
		return "boolean", nil
	case t.Kind() == reflect.Pointer:
		return typeOf(t.Elem())
	case t.Kind() == reflect.Struct:
		return "object", fields(t)
	case t.Kind() == reflect.Map:
		return "object", nil
	case t.Kind() == reflect.Slice:
		_, below := typeOf(t.Elem())
		return "array", below
	}
	return "number", nil
}

// each calls visit for every field, and for the fields below it.
func each(list []field, visit func(field)) {
	for _, f := range list {
		visit(f)
		each(f.below, visit)
	}
}

// Reference returns the part of docs/cli.md about JSON documents.
func Reference() string {
	w := new(strings.Builder)
	fmt.Fprint(w, "\n## JSON documents\n\nWith `--json` a command prints one document on standard output. A name has the same meaning\nand type in all documents. Names in italics are left out if they are empty. Every document can\nhave `error`. If a path is not UTF-8, `path_b64` has it in base64, instead of `path`.\n")
	types := map[string]string{}
	for _, k := range Kinds() {
		all := fields(reflect.TypeOf(k.Document).Elem())
		fmt.Fprintf(w, "\n### %s\n\n`%s`: %s\n", k.Title, strings.Join(k.Commands, "`, `"), nameAll(all))
		separate := "\n"
		each(all, func(f field) {
			if len(f.below) > 0 && f.name != "error" {
				fmt.Fprintf(w, "%s- `%s`: %s\n", separate, f.name, nameAll(f.below))
				separate = ""
			}
			types[f.name] = f.typ
		})
	}
	fmt.Fprintf(w, "\n### Errors\n\n`error`: %s\n\n", nameAll(fields(reflect.TypeFor[Error]())))
	fmt.Fprint(w, "A command that fails prints `command` and `error`, or its document so far, with `error`. The exit code is the same as without `--json`, and so is standard error. `kind` is one of\n\n")
	for _, k := range ErrorKinds() {
		fmt.Fprintf(w, "- `%s`: %s\n", k[0], k[1])
	}
	fmt.Fprint(w, "\n### Names\n\n| Name | Type | Meaning |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(types)) {
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", name, types[name], words()[name])
	}
	return w.String()
}

// nameAll names fields, those that may be missing in italics.
func nameAll(list []field) string {
	var names []string
	for _, f := range list {
		if f.name == "error" || f.name == "path_b64" { // explained once, above
			continue
		}
		name := "`" + f.name + "`"
		if f.optional {
			name = "*" + name + "*"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// ErrorKinds are the kinds of errors, each with its meaning.
func ErrorKinds() [][2]string {
	return [][2]string{
		{"usage", "the command line is wrong (exit code 2)"},
		{"interrupted", "a signal ended the command"},
		{"not_found", "a file, directory, key or device does not exist"},
		{"exists", "the output exists already"},
		{"permission", "the system does not permit it, or the file system is read-only"},
		{"io", "the system failed to read or write"},
		{"passphrase", "a passphrase or PIN is missing or wrong, or the device no longer accepts one"},
		{"key", "the key or certificate is not the right one, or may not be used for this"},
		{"refused", "the command needs a decision; the message names the flag for it, if there is one"},
		{"mismatch", "something does not match a manifest, a digest or another file"},
		{"malformed", "the input is damaged or of the wrong kind"},
		{"too_large", "the input, or what it unpacks to, is larger than allowed"},
		{"unsupported", "this program, the file system or the device cannot do it"},
		{"busy", "another run is working on the same files"},
		{"changed", "the input changed during the run"},
		{"failed", "anything else"},
	}
}
