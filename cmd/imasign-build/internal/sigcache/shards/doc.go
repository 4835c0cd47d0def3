// Package shards writes and reads the files that a signature cache is shared as: a directory
// with up to 256 shards, and an index that lists them. A web server, a network file system or
// rsync can serve it. Package sigcache/mirror fetches shards.
//
// A shard never changes, because the SHA-256 digest of its content is in its name. Only the
// index changes. It is published last and in one step. Two exports of the same entries are
// equal byte for byte. Signatures are not verified here: whoever uses one must verify it.
//
// # The index
//
// The index is [IndexName], a text file in ASCII. Its lines end with a newline:
//
//	imasign-signatures 1 2
//	ima-signatures-07-<64 hexadecimal digits>.shard 3124 9
//	ima-signatures-a3-<64 hexadecimal digits>.shard 1890 5
//
// The first line has the format's name, its version, and the number of lines that follow.
// The others are sorted, and have one shard each: its name, its size in bytes, and the number
// of its entries. The name has the first byte that the addresses of its entries have
// ([sigcache.Entry.Address]), and the SHA-256 digest of its content, both in lower-case
// hexadecimal digits. Numbers are decimal, without leading zeros. There are no empty shards.
// The version is that of index and shards: a program that does not know it reads neither.
//
// # A shard
//
// Numbers are unsigned and big-endian. Offsets are from the beginning of the file.
//
//	offset   size  content
//	0        8     "imashard"
//	8        4     version: 1
//	12       4     first byte of all addresses
//	16       4     number of groups, G
//	20       4     number of entries, N
//	24       4     size of the table of groups in bytes, T
//	28       4     zero
//	32       T     table of groups
//	32+T     36×N  table of entries
//	32+T+36N …     records, to the end of the file
//
// A group is what entries have in common. The groups are sorted by their bytes, and each has
// at least one entry:
//
//	size  content
//	2     size of the public key, k
//	k     the public key: a SubjectPublicKeyInfo in DER
//	1     size of the xattr's name, x
//	x     the xattr's name: security.ima or security.evm
//	1     type: the first byte of values
//	1     version of the signature
//	1     what the digest is of: 0 content, 1 fs-verity, 2 metadata
//	1     id of the hash algorithm, as in the kernel's enum hash_algo
//
// The entries are sorted by address, and no address occurs twice:
//
//	size  content
//	32    address
//	4     offset of the record
//
// The records follow one another, in the order of their entries. A record ends where the next
// one begins, and the last one at the end of the file:
//
//	size  content
//	2     number of the group, from 0
//	…     digest, as long as the hash algorithm says
//	…     signature, without a header; at least one byte
//
// So one signature is found by a binary search and one more read, without the groups.
package shards
