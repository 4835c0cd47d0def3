// Package rpmsign signs the files of an RPM package. It reads their digests from the main
// header and writes their IMA signatures into the signature header, which no digest or
// OpenPGP signature of the package covers. The main header and the payload keep every
// byte.
//
// A Package lists entries for a plan of pkg/signing, and makes the change that the plan
// describes ([Package.Prepare]). Before that, [Package.Check] compares the package with
// the digests that it states. Each fault in existing file signatures has a name
// ([Defect]). The layout follows rpm's lib/header.cc, lib/signature.cc and
// sign/rpmsignfiles.cc. The limits are rpm's own, so rpm reads every package that is
// written here.
//
// pkg/signing makes plans and signatures, and pkg/keystore opens keys. The caller finds
// packages and updates repositories.
package rpmsign
