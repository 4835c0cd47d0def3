package certs

import (
	"crypto/x509/pkix"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is the longest common name that X.520 allows. OpenSSL enforces it.
const maxName = 64

// ParseSubject reads a subject in the syntax of openssl, "/C=DE/O=Acme/CN=Router", or a plain
// name, which becomes organisation and common name. The error is [ErrOption].
func ParseSubject(text string) (pkix.Name, error) {
	name := pkix.Name{Organization: []string{text}, CommonName: text}
	if after, found := strings.CutPrefix(text, "/"); found {
		name = pkix.Name{}
		for _, part := range splitSlashes(after) {
			if err := addPart(&name, part); err != nil {
				return pkix.Name{}, err
			}
		}
	}
	return name, checkSubject(name)
}

// splitSlashes splits at slashes that do not follow a backslash.
func splitSlashes(text string) []string {
	const escaped = "\x00"
	parts := strings.Split(strings.ReplaceAll(text, `\/`, escaped), "/")
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], escaped, "/")
	}
	return parts
}

func addPart(name *pkix.Name, part string) error {
	key, value, found := strings.Cut(part, "=")
	if !found || value == "" {
		return wrongOption("subject: %q is not of the form NAME=value", part)
	}
	list := map[string]*[]string{
		"C": &name.Country, "ST": &name.Province, "L": &name.Locality, "O": &name.Organization, "OU": &name.OrganizationalUnit,
	}[key]
	switch {
	case list != nil:
		*list = append(*list, value)
	case key == "CN" && name.CommonName == "":
		name.CommonName = value
	case key == "CN":
		return wrongOption("subject: CN twice")
	default:
		return wrongOption("subject: %q is none of C, ST, L, O, OU, CN", key)
	}
	return nil
}

func checkSubject(name pkix.Name) error {
	if name.CommonName == "" {
		return wrongOption("subject: a common name (CN) is needed")
	}
	for _, c := range name.Country {
		if len(c) != 2 {
			return wrongOption("subject: country %q has two letters", c)
		}
	}
	values := []string{name.CommonName}
	for _, list := range [][]string{name.Country, name.Province, name.Locality, name.Organization, name.OrganizationalUnit} {
		values = append(values, list...)
	}
	for _, v := range values {
		if !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl) {
			return wrongOption("subject: %q has characters that are not printable", v)
		}
		if utf8.RuneCountInString(v) > maxName {
			return wrongOption("subject: %q is longer than %d characters", v, maxName)
		}
	}
	return nil
}
