package tarball

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// describe adds to an entry what the symbolic link points to, or the number of the device.
func describe(m *member, h *tar.Header, e *signing.Entry) error {
	switch {
	case m.typeflag == typeLink: // has those of the entry that it names
	case e.Mode&fs.ModeSymlink != 0:
		e.Target = h.Linkname
	case e.Mode&fs.ModeDevice != 0:
		e.Device = manifest.Device(e.Mode, uint32(h.Devmajor), uint32(h.Devminor)) // block.check limits them
		return m.checkDevice(h)
	}
	return nil
}

// checkDevice refuses a device with records of another number than that of the header.
// bsdtar reads the records, and GNU tar the header.
func (m *member) checkDevice(h *tar.Header) error {
	if m.pax == nil {
		return nil
	}
	for key, number := range map[string]int64{"SCHILY.devmajor": h.Devmajor, "SCHILY.devminor": h.Devminor} {
		if text := value(m.pax.records, key); text != "" && text != strconv.FormatInt(number, 10) {
			return fmt.Errorf("%w: the header states the device number %d:%d, and a pax record another one", ErrAmbiguous, h.Devmajor, h.Devminor)
		}
	}
	return nil
}

// special completes a hard link to a symbolic link, a device, a FIFO or a socket. Programs
// extract it as another name of that.
func special(e, of *signing.Entry) {
	e.Mode, e.UID, e.GID, e.Reason = of.Mode, of.UID, of.GID, of.Reason
	e.Target, e.Device = of.Target, of.Device
}
