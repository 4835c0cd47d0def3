// Package process holds what can only be seen of a running process: what signals
// leave behind, and that no secret is where others can read it.
package process
