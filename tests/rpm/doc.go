// Package rpm tests rpm, rpmbuild, rpmsign, createrepo_c and dnf with each other and with
// imasign-build. Package packages makes the packages and repositories.
package rpm
