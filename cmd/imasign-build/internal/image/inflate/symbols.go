package inflate

const (
	endOfBlock = 256

	// codeOrder is the order of the lengths of the codes of lengths (RFC 1951, 3.2.7).
	codeOrder = "\x10\x11\x12\x00\x08\x07\x09\x06\x0A\x05\x0B\x04\x0C\x03\x0D\x02\x0E\x01\x0F"
)

// symbols are what the symbols mean (RFC 1951, 3.2.5).
type symbols struct {
	literals  [maxLiterals]entry
	distances [maxDistances]entry
	lengths   [len(codeOrder)]entry
}

func newSymbols() *symbols {
	s := &symbols{}
	for b := range endOfBlock {
		s.literals[b] = entry(b)<<16 | kindLiteral
	}
	s.literals[endOfBlock] = kindEnd
	ranges(s.literals[endOfBlock+1:285], 3, 2)
	s.literals[285] = 258 << 16
	ranges(s.distances[:30], 1, 1)
	for i := range s.lengths {
		s.lengths[i] = entry(i)<<16 | kindLiteral
	}
	return s
}

// ranges sets symbols that stand for adjacent ranges, the first of which begins at base.
// From the second group on, every 1<<shift symbols have one more extra bit.
func ranges(list []entry, base entry, shift int) {
	for i := range list {
		extra := entry(max(i>>shift-1, 0))
		list[i] = base<<16 | extra<<8
		base += 1 << extra
	}
}
