package approval

import (
	"bytes"
	"sort"
)

// digests are records of one size, one after the other, without pointers: a million SHA-256
// digests take 32 MB. They are in order after sort.
type digests struct {
	size, key int // of a record, and of the beginning that it is ordered by, in bytes
	data      []byte
}

// sort sorts the records, drops repeated ones, and gives back the memory that they do not need.
func (d *digests) sort() {
	sort.Sort(order{d, make([]byte, d.size)})
	n := 0
	for at := 0; at < len(d.data); at += d.size {
		if record := d.data[at : at+d.size]; n == 0 || !bytes.Equal(record, d.data[n-d.size:n]) {
			n += copy(d.data[n:], record)
		}
	}
	if d.data = d.data[:n]; cap(d.data)-n > n/8 {
		d.data = bytes.Clone(d.data)
	}
}

// find returns the records that begin with a key.
func (d *digests) find(key []byte) (found []byte) {
	n := d.len()
	at := func(i int) []byte { return d.data[i*d.size:][:d.key] }
	first := sort.Search(n, func(i int) bool { return bytes.Compare(at(i), key) >= 0 })
	last := first
	for last < n && bytes.Equal(at(last), key) {
		last++
	}
	return d.data[first*d.size : last*d.size]
}

func (d *digests) len() int { return len(d.data) / d.size }

// order sorts by whole records.
type order struct {
	*digests
	spare []byte
}

func (o order) Len() int { return o.len() }

func (o order) record(i int) []byte { return o.data[i*o.size:][:o.size] }

func (o order) Less(i, j int) bool { return bytes.Compare(o.record(i), o.record(j)) < 0 }

func (o order) Swap(i, j int) {
	copy(o.spare, o.record(i))
	copy(o.record(i), o.record(j))
	copy(o.record(j), o.spare)
}
