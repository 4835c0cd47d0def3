package rpmsign

import (
	"slices"
	"strings"

	"github.com/imasign/imasign-build/pkg/signing"
)

// colorsELF are the bits of FILECOLORS for ELF files: 32-bit, 64-bit and MIPS N32 (RPMFC_ELF
// of rpm's include/rpm/rpmfc.h).
const colorsELF = 1<<0 | 1<<1 | 1<<2

// readTraits reads from the header which files are ELF files. rpm gives them a colour, but
// since 4.16 only if they have an execute bit (rpmfcClassify of build/rpmfc.cc). For every
// file rpm also writes what libmagic says about it: a class, such as "ELF 64-bit LSB shared
// object", or a MIME type in packages of version 6. A file with none of these stays
// unknown. Arrays of another length than files are ignored.
func readTraits(h *header, files []file) {
	if colors := h.numbers(tagFileColors); len(colors) == len(files) {
		for i, color := range colors {
			if color&colorsELF != 0 {
				files[i].traits = signing.KnowsELF | signing.ELF
			}
		}
	}
	readClasses(files, h.numbers(tagFileClass), h.strings(tagClassDict), func(class string) bool {
		return strings.Contains(class, "ELF 32-bit") || strings.Contains(class, "ELF 64-bit") // rpm's own test
	})
	readClasses(files, h.numbers(tagFileMIMEIndex), h.strings(tagMIMEDict), func(mime string) bool {
		return slices.Contains([]string{"application/x-executable", "application/x-pie-executable", "application/x-sharedlib", "application/x-object", "application/x-coredump"}, mime)
	})
}

// readClasses sets the traits of files by their indexes into words. isELF says which words
// mean an ELF file.
func readClasses(files []file, indexes []uint64, words []string, isELF func(string) bool) {
	if len(indexes) != len(files) {
		return
	}
	elf := make([]bool, len(words))
	for i, word := range words {
		elf[i] = isELF(word)
	}
	for i, at := range indexes {
		if at >= uint64(len(words)) {
			continue
		}
		if files[i].traits |= signing.KnowsELF; elf[at] {
			files[i].traits |= signing.ELF
		}
	}
}
