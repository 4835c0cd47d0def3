// Package process tests what only a running process shows: what it leaves behind after
// signals, and that it keeps secrets where other processes cannot read them.
package process
