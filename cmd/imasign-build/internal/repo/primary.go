package repo

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/internal/quote"
)

// listed is a package as primary.xml lists it.
type listed struct {
	name    string // name-version-release.arch
	href    string // as primary.xml has it, from the repository's directory
	base    string // xml:base of href
	sumType string // of pkgid
	pkgid   string // checksum of the package file, in lower-case hex
	size    int64  // of the package file
}

// maxPath is Linux's PATH_MAX.
const maxPath = 4096

// maxListed limits the number of packages in one primary.xml.
const maxListed = 4 << 20

// readPrimary reads the packages that the metadata of the repository in dir lists.
func (r *repomd) readPrimary(dir string) ([]listed, error) {
	name := filepath.Join(dir, r.find("primary").Location.Href)
	in, err := openMetadata(name)
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // opened for reading
	list, err := parsePrimary(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrMetadata, quote.Plain(err))
	}
	return list, nil
}

// parsePrimary reads primary.xml as createrepo_c writes it (src/xml_dump_primary.c).
func parsePrimary(in io.Reader) ([]listed, error) {
	var list []listed
	var p *primaryPackage
	err := eachToken(in, func(path []string, token xml.Token) error {
		inPackage := len(path) >= 2 && path[1] == "package"
		switch t := token.(type) {
		case xml.StartElement:
			if inPackage && len(path) == 2 {
				p = &primaryPackage{}
			}
			if inPackage && len(path) == 3 {
				return p.start(path[2], t)
			}
		case xml.CharData:
			if inPackage && len(path) == 3 {
				p.text(path[2], string(t))
			}
		case xml.EndElement:
			if !inPackage || len(path) != 2 {
				return nil
			}
			if len(list) == maxListed {
				return fmt.Errorf("more than %d packages", maxListed)
			}
			l, err := p.finish()
			list = append(list, l)
			return err
		}
		return nil
	})
	return list, err
}

// primaryPackage is a package element that is being read.
type primaryPackage struct {
	listed

	pkgName, arch, version string
	isID                   bool
}

func (p *primaryPackage) start(element string, t xml.StartElement) (err error) {
	switch element {
	case "version":
		p.version = attribute(t, "ver") + "-" + attribute(t, "rel")
	case "checksum":
		if p.isID = attribute(t, "pkgid") == "YES"; p.isID {
			p.sumType = attribute(t, "type")
		}
	case "location":
		p.href, p.base = attribute(t, "href"), attribute(t, "base")
	case "size":
		if p.size, err = strconv.ParseInt(attribute(t, "package"), 10, 64); err != nil {
			return errors.New("it lists a package without its size")
		}
	}
	return nil
}

func (p *primaryPackage) text(element, text string) {
	switch element {
	case "name":
		p.pkgName += text
	case "arch":
		p.arch += text
	case "checksum":
		if p.isID {
			p.pkgid += strings.ToLower(strings.TrimSpace(text))
		}
	}
}

func (p *primaryPackage) finish() (listed, error) {
	p.name = p.pkgName + "-" + p.version + "." + p.arch
	switch {
	case p.href == "", len(p.href) > maxPath:
		return listed{}, fmt.Errorf("it lists package %q without a usable location", p.name)
	case !isHex(p.pkgid):
		return listed{}, fmt.Errorf("it lists package %q with the checksum %q, which is not hexadecimal", p.name, p.pkgid)
	}
	return p.listed, nil
}

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdef") == ""
}

func attribute(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// eachToken calls take for every token of a document, with the path of its elements. A start
// or end tag is part of its own element.
func eachToken(in io.Reader, take func(path []string, token xml.Token) error) error {
	const deepest = 100
	d := xml.NewDecoder(&brief{r: in})
	d.CharsetReader = func(charset string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("its encoding is %q, not UTF-8", charset)
	}
	var path []string
	for {
		token, err := d.RawToken() // resolving name spaces would take a third of the time
		if errors.Is(err, io.EOF) && len(path) > 0 {
			return fmt.Errorf("it ends inside <%s>", path[len(path)-1])
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if path = append(path, t.Name.Local); len(path) > deepest {
				return fmt.Errorf("elements are nested more than %d deep", deepest)
			}
			err = take(path, token)
		case xml.EndElement:
			if len(path) == 0 || path[len(path)-1] != t.Name.Local {
				return fmt.Errorf("</%s> ends no open element", t.Name.Local)
			}
			err = take(path, token)
			path = path[:len(path)-1]
		default:
			err = take(path, token)
		}
		if err != nil {
			return err
		}
	}
}

// brief limits the length of a token, because the decoder keeps all of it in memory. It fails
// if no tag ends for too many bytes. In CDATA sections and comments > does not end a tag, so
// brief limits their total length.
type brief struct {
	r       io.Reader
	run     int     // bytes since a tag ended
	special int     // bytes of sections and comments
	last    [2]byte // the last two bytes read
	ends    byte    // the byte that occurs twice before the > that ends a section or comment; 0 outside
	opening bool    // the next byte is the second dash of <!--, which cannot be part of -->
}

const (
	maxToken   = 1 << 20
	maxSpecial = 4 << 20
)

func (b *brief) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	for _, c := range p[:n] {
		b.take(c)
	}
	if b.run > maxToken || b.special > maxSpecial {
		return 0, fmt.Errorf("an element or a text has more than %d bytes", maxToken)
	}
	return n, err
}

func (b *brief) take(c byte) {
	b.run++
	if b.opening {
		b.opening, c = false, 0
	}
	switch opens := b.last == [2]byte{'<', '!'}; {
	case b.ends != 0:
		b.special++
		if c == '>' && b.last == [2]byte{b.ends, b.ends} {
			b.ends = 0
		}
	case opens && c == '-':
		b.ends, b.opening, c = '-', true, 0
	case opens && c == '[':
		b.ends = ']'
	}
	if c == '>' {
		b.run = 0
	}
	b.last = [2]byte{b.last[1], c}
}
