// Package archtest compares the code with what is written about it: which package may
// import which, and the packages, files, dependencies and decisions that
// docs/architecture.md, docs/dependencies.md and docs/adr name. It keeps what pkg/ exports
// small, documented and usable by others. It has only tests.
package archtest
