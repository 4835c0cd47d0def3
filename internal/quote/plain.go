package quote

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Plain returns an error of a library in plain words: texts such as "unexpected EOF", and the
// names of Go types and packages, do not help a user. The result wraps err. If the text is
// plain already, Plain returns err itself. Plain(nil) is nil.
func Plain(err error) error {
	if err == nil {
		return nil
	}
	text := plainText(err)
	if text == err.Error() {
		return err
	}
	return plainError{err, text}
}

type plainError struct {
	err  error
	text string
}

func (e plainError) Error() string { return e.text }
func (e plainError) Unwrap() error { return e.err }

func plainText(err error) string {
	var (
		wrongType *json.UnmarshalTypeError
		noJSON    *json.SyntaxError
		noXML     *xml.SyntaxError
		number    *strconv.NumError
		program   *exec.Error
		network   *net.OpError
	)
	switch {
	case errors.As(err, &wrongType) && wrongType.Field == "":
		return fmt.Sprintf("a JSON %s is in the wrong place", wrongType.Value)
	case errors.As(err, &wrongType):
		return fmt.Sprintf("%q is a %s, which is the wrong type", wrongType.Field, wrongType.Value)
	case errors.As(err, &noJSON):
		return fmt.Sprintf("not valid JSON at byte %d", noJSON.Offset)
	case errors.As(err, &noXML) && strings.Contains(noXML.Msg, "EOF"):
		return fmt.Sprintf("the XML ends in the middle of line %d", noXML.Line)
	case errors.As(err, &noXML):
		return fmt.Sprintf("not valid XML in line %d: %s", noXML.Line, noXML.Msg)
	case errors.As(err, &number) && errors.Is(number.Err, strconv.ErrRange):
		return fmt.Sprintf("%q is too large a number", number.Num)
	case errors.As(err, &number):
		return fmt.Sprintf("%q is not a number", number.Num)
	case errors.As(err, &program) && errors.Is(program.Err, exec.ErrNotFound):
		return "there is no program " + Name(program.Name) + " in PATH"
	case errors.As(err, &network):
		var system *os.SyscallError
		if errors.As(network.Err, &system) {
			return system.Err.Error()
		}
		return network.Err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the data ends too early"
	}
	return withoutPackage(err.Error())
}

// withoutPackage removes prefixes with which Go packages begin their errors.
func withoutPackage(text string) string {
	for _, name := range []string{
		"x509", "asn1", "structure error", "syntax error", "tls", "pem", "crypto/rsa", "crypto/ecdsa", "crypto/elliptic",
		"json", "xml", "elf", "openpgp", "invalid data", "invalid argument", "flate", "gzip", "zlib", "bzip2", "xz", "lzma", "lz4", "zstd", "archive/tar",
	} {
		text = strings.TrimPrefix(text, name+": ")
	}
	if strings.HasPrefix(text, "tag byte does not have MSB set") { // an OpenPGP packet has it
		return "it is not OpenPGP data"
	}
	if text == "" || text == "EOF" {
		return "the data ends too early"
	}
	return text
}
