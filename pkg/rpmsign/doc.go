// Package rpmsign is an RPM package as a container of signatures: it reads the
// digests that the main header states for the package's files, and writes their
// IMA signatures into the signature header, which no digest or OpenPGP signature
// of the package covers. The main header and the payload keep every byte.
//
// A Package lists entries for a plan of pkg/signing and makes the change that the plan
// describes ([Package.Prepare]). What digests and existing signatures are worth is
// checked before ([Package.Check]); what is wrong with the file signatures of
// others has a name ([Defect]). The layout is that of
// rpm's lib/header.cc, lib/signature.cc and sign/rpmsignfiles.cc, and the limits
// are rpm's own, so that what is written here is read there.
//
// Making plans and signatures is pkg/signing's, keys are pkg/keystore's, which files are
// packages, and what repositories say about them, is left to the caller.
package rpmsign
