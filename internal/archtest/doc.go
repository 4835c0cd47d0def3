// Package archtest holds the arrows of docs/architecture.md: which package may
// import which. It has tests alone.
package archtest
