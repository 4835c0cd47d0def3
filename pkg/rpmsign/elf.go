package rpmsign

import (
	"slices"
	"strings"

	"github.com/imasign/imasign-build/pkg/signing"
)

// colorsELF are the bits of FILECOLORS that ELF files have: 32-bit, 64-bit, and
// MIPS N32 (RPMFC_ELF of rpm's include/rpm/rpmfc.h).
const colorsELF = 1<<0 | 1<<1 | 1<<2

// readTraits reads which files are ELF files. rpm colours them; since 4.16 only those
// with an execute bit (rpmfcClassify of build/rpmfc.cc). What the others are is in the
// words of libmagic that it writes for every file: a class, such as "ELF 64-bit LSB
// shared object", or, in packages of version 6, a MIME type. A file without a colour and
// without such words is not known. Arrays that do not fit are left out.
func readTraits(h *header, files []file) {
	if colors := h.numbers(tagFileColors); len(colors) == len(files) {
		for i, color := range colors {
			if color&colorsELF != 0 {
				files[i].traits = signing.KnowsELF | signing.ELF
			}
		}
	}
	readClasses(files, h.numbers(tagFileClass), h.strings(tagClassDict), func(class string) bool {
		return strings.Contains(class, "ELF 32-bit") || strings.Contains(class, "ELF 64-bit") // as rpm tells them
	})
	readClasses(files, h.numbers(tagFileMIMEIndex), h.strings(tagMIMEDict), func(mime string) bool {
		return slices.Contains([]string{"application/x-executable", "application/x-pie-executable", "application/x-sharedlib", "application/x-object", "application/x-coredump"}, mime)
	})
}

// readClasses takes an index of each file into words, and which of those mean ELF.
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
