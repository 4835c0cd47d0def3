package tarball

import (
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/internal/stmode"
)

// name returns the entry's name as GNU tar and bsdtar read it. check makes sure that they
// agree.
func (m *member) name() string {
	if m.pax != nil {
		for _, key := range []string{"GNU.sparse.name", "path"} {
			if name := value(m.pax.records, key); name != "" {
				return name
			}
		}
	}
	if m.longName != "" {
		return m.longName
	}
	return m.block.name()
}

// linkname returns the target of a link as GNU tar and bsdtar read it.
func (m *member) linkname() string {
	if m.pax != nil {
		if name := value(m.pax.records, "linkpath"); name != "" {
			return name
		}
	}
	if m.longLink != "" {
		return m.longLink
	}
	return m.block.linkname()
}

func (m *member) isLink() bool { return m.typeflag == typeLink || m.typeflag == typeSymlink }

// isFile reports whether programs extract the entry as a regular file or, if its name ends
// in a slash, as a directory.
func (m *member) isFile() bool {
	switch m.typeflag {
	case typeRegular, typeRegularV7, typeContiguous, typeSparse:
		return true
	}
	return false
}

// check refuses entries that GNU tar and bsdtar extract differently, and those that only one
// of them extracts as a regular file: its signature would be missing or over other content.
func (m *member) check() error {
	if err := m.checkType(); err != nil {
		return err
	}
	if m.typeflag == typeVolume {
		return nil
	}
	if err := m.checkSources(); err != nil {
		return err
	}
	if err := checkName(m.name()); err != nil {
		return err
	}
	if m.typeflag == typeLink {
		return checkName(m.linkname())
	}
	return nil
}

func (m *member) checkType() error {
	mode, err := number(m.block[100:108])
	if err != nil {
		return err
	}
	isDir := m.isFile() && strings.HasSuffix(m.name(), "/")
	switch {
	case m.typeflag == typeVolume:
		if m.size > 0 || m.start != m.header {
			return fmt.Errorf("%w: a label with content or an extended header", ErrAmbiguous)
		}
	case m.isLink() || typeSymlink < m.typeflag && m.typeflag <= typeFIFO:
		if m.size > 0 {
			return fmt.Errorf("%w: an entry of type %q with content", ErrAmbiguous, m.typeflag)
		}
		if m.typeflag == typeLink && stmode.FileMode(uint32(mode)).IsDir() {
			return fmt.Errorf("%w: a hard link with the mode of a directory", ErrAmbiguous)
		}
	case m.typeflag == typeMulti:
		return fmt.Errorf("%w: a file continued from another volume", ErrAmbiguous)
	case !m.isFile() && m.typeflag != typeDump:
		return fmt.Errorf("%w: an entry of type %q", ErrAmbiguous, m.typeflag)
	case isDir && m.size > 0:
		return fmt.Errorf("%w: a directory with content", ErrAmbiguous)
	case isDir && (m.pax != nil || m.isSparse()):
		return fmt.Errorf("%w: a directory of type %q with an extended header", ErrAmbiguous, m.typeflag)
	case m.isFile() && !isDir && cleanPath(m.name()) == "":
		return fmt.Errorf("%w: a file with the name of the archive's root", ErrAmbiguous)
	}
	return nil
}

// checkSources refuses entries that state a name twice, or in a field that only some
// programs read.
func (m *member) checkSources() error {
	if m.pax == nil {
		if m.longLink != "" && !m.isLink() {
			return m.errStrayLink()
		}
		return nil
	}
	records := m.pax.records
	path, link := value(records, "path"), value(records, "linkpath")
	switch {
	case (m.longLink != "" || link != "") && !m.isLink():
		return m.errStrayLink()
	case m.longName != "" && (path != "" && path != m.longName || value(records, "GNU.sparse.name") != ""),
		m.longLink != "" && link != "" && link != m.longLink:
		return fmt.Errorf("%w: a GNU long name, and another one in a pax record", ErrAmbiguous)
	case value(records, "GNU.dumpdir") != "" && m.typeflag != typeDirectory && m.typeflag != typeDump:
		return fmt.Errorf("%w: pax record GNU.dumpdir in an entry of type %q", ErrAmbiguous, m.typeflag)
	}
	for _, r := range records {
		if r.isSparse() && (m.typeflag != typeRegular || !m.block.isUSTAR() || m.block.isStar()) {
			return fmt.Errorf("%w: pax record %s in an entry of type %q", ErrAmbiguous, r.key(), m.typeflag)
		}
	}
	return nil
}

func (m *member) errStrayLink() error {
	return fmt.Errorf("%w: an entry of type %q with the target of a link, which bsdtar extracts as a link", ErrAmbiguous, m.typeflag)
}
