// Package translog is the transparency log of a signing service: an append-only list of
// records in a directory, with a Merkle tree over them (RFC 6962) whose root the log signs.
//
// One file, journal, is the truth. It has every record with its details, and after each group
// of records that were written together, the signed checkpoint. A group is synced before any
// of its records is acknowledged. The other files are made from the journal, and completed or
// written anew by [Open]:
//
//   - checkpoint: the newest signed checkpoint (C2SP tlog-checkpoint). It tells a journal that
//     was cut from one whose end was never written.
//   - hashes: the hashes of the tree, 32 bytes each, in the order of tlog.StoredHashIndex.
//   - offsets: for each record, where its frame is in the journal and the number of leaves
//     before it, as two 64-bit big-endian numbers.
//   - leaves: the first 8 bytes of every leaf, see [protocol.Leaf], in the order of the records.
//
// The journal begins with a line that names the format and a line with the name of the log.
// Then come frames. A frame is, with big-endian numbers:
//
//	4 bytes   "REC1", a record; or "CHK1", a checkpoint
//	8 bytes   the index of the record; or the number of records before the checkpoint
//	4 bytes   the length of the record or the signed checkpoint
//	4 bytes   the length of the details; 0 for a checkpoint
//	          the record or checkpoint, then the details
//	4 bytes   CRC-32C of everything before
//
// One process has the log open. Memory does not grow with the number of records.
package translog
