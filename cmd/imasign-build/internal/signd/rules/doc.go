// Package rules decides who may sign what with the keys of a signing service.
//
// A rule names keys, requesters, hashes and forms, and limits the digests of a batch and of a
// UTC day. The first rule that grants a request wins. If none does, the refusal is that of the
// rule that came furthest, and names it.
//
// What a requester says about a digest, such as a path, is a claim: nothing follows from it. A
// rule without a binding makes its requesters a signing oracle up to its quota. docs/service.md
// says what that means.
//
// The caller knows who the requester is, signs, and keeps the log. Package protocol has the
// requests and the refusals.
package rules
