package report

import (
	"encoding/json"
	"io"
)

// Receipt is a line of a file of receipts.
type Receipt struct {
	Server string `json:"server"` // HOST:PORT
	Record []byte `json:"record"` // of the service's log, in base64
	Proof  string `json:"proof"`  // C2SP tlog-proof
	Leaves []byte `json:"leaves"` // of the record's Merkle root, 32 bytes each, in base64
}

// ParseReceipt reads a line, and checks nothing.
func ParseReceipt(line []byte) (r Receipt, err error) {
	err = json.Unmarshal(line, &r)
	return r, err
}

// Write writes the receipt as one line of JSON.
func (r Receipt) Write(w io.Writer) (int, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	return w.Write(append(line, '\n'))
}
