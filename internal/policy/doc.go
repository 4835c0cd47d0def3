// Package policy reads, checks and writes IMA policies. Their rules say what the kernel
// measures, appraises and audits.
//
// [Parse] keeps every byte of a file, comments included, and the line and column of every
// word. [Check] reports what the kernel would refuse, for which the kernel itself only
// returns EINVAL, then rules that contradict each other, then risks. [Generate] writes
// policies for common cases.
//
// The rules of the language are from security/integrity/ima/ima_policy.c in Linux 6.1, 6.12
// and 7.3 (ima_parse_add_rule, ima_parse_rule, ima_validate_rule, ima_match_rules). since.go
// says since when the kernel has each word. If Documentation/ABI/testing/ima_policy differs,
// the code counts. If a [Target] has the
// kernel's configuration, Check uses it. Otherwise findings name the symbols that matter.
//
// Everything works on bytes in memory. Only the device knows which LSM labels exist, who is
// logged in and what is mounted when the policy is loaded. Findings say so.
// cmd/imasign-build/internal/simulate tries a policy on files, with [Rule.Matches].
//
// Several goroutines may call all functions at the same time.
package policy
