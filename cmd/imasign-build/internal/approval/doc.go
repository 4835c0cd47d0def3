// Package approval lets people decide what a signing service signs. An approver signs a
// statement about the canonical manifest of a container, without signatures: the digests in it
// may be signed, with this key, in this form, up to this day. [Sign] makes such a statement and
// a [Store] reads a directory of them.
//
// The directory has two kinds of files. HASH.manifest is a manifest as [Strip] writes it; HASH is
// its SHA-256. HASH.*.approval is the statement of one approver, whose encoding is in package
// protocol. Nothing is believed because of its name or place: a statement counts if a known
// approver signed it, a manifest if its hash is in such a statement. To withdraw an approval,
// remove its file.
//
// How many approvers are needed, for whom, and whether they suffice is the matter of the
// service's rules.
package approval
