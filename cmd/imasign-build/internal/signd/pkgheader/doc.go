// Package pkgheader decides whether digests are those of files in an RPM package that somebody
// vouches for: the main header of the package travels with the request, and the OpenPGP signature
// over exactly this header. Package rpmsign reads the header, and go-crypto verifies.
//
// A signature over header and payload together (SIGPGP, SIGGPG) proves nothing here: it is over
// other bytes, so it does not verify. The check is worth as much as the OpenPGP key: on a build
// host that has it, anybody can sign a header with any digests.
package pkgheader
