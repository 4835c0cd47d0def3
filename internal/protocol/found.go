package protocol

import "fmt"

// EncodeFound encodes the answer of a log to the question in which records leaves are: for each
// leaf the index of a record, or -1 if no record has it. The question is the hashes of up to
// [MaxFind] leaves, 32 bytes each, one after the other. The answer is an array of integers.
// Errors wrap [ErrMalformed].
func EncodeFound(indexes []int64) ([]byte, error) { return encode((*found)(&indexes), MaxBody) }

// DecodeFound decodes the answer of a log for as many leaves as given. Errors wrap
// [ErrMalformed].
func DecodeFound(body []byte, leaves int) ([]int64, error) {
	var f found
	if err := unmarshal(body, MaxBody, MaxFind, &f); err != nil {
		return nil, err
	}
	if len(f) != leaves {
		return nil, fmt.Errorf("%w: the log answers for %d leaves, not %d", ErrMalformed, len(f), leaves)
	}
	return f, f.check()
}

type found []int64

func (f *found) check() error {
	if len(*f) > MaxFind {
		return fmt.Errorf("%w: %d leaves, at most %d are allowed", ErrMalformed, len(*f), MaxFind)
	}
	for _, index := range *f {
		if index < -1 {
			return fmt.Errorf("%w: %d is no index of a record", ErrMalformed, index)
		}
	}
	return nil
}
