// Package rpm drives rpm, rpmbuild, rpmsign, createrepo_c and dnf against each other
// and, in its tests, against imasign-build. Package packages has what they work on.
package rpm
