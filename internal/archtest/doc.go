// Package archtest compares the code with its documentation: the imports that packages may
// have, and the packages, files, dependencies and decisions that docs/architecture.md,
// docs/dependencies.md and docs/adr name. It also checks that the public API in pkg/ stays
// small, documented and usable by other modules. It contains only tests.
package archtest
