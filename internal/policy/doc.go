// Package policy reads, writes and judges IMA policies: the rules that say what
// the kernel measures, appraises and audits.
//
// [Parse] keeps every byte of a file, comments included, with line and column of
// every word. [Check] says what the kernel would refuse, which it reports as EINVAL
// and nothing more, then which rules contradict each other, and which are risky.
// [Generate] writes policies for the common cases.
//
// The rules are those of security/integrity/ima/ima_policy.c in Linux 6.1 and 6.12
// (ima_parse_add_rule, ima_parse_rule, ima_validate_rule, ima_match_rules), and of
// Documentation/ABI/testing/ima_policy where both agree; the code wins where they
// do not. What a kernel's configuration decides is judged when a [Target] has one, and
// named otherwise.
//
// Everything works on bytes in memory. Which LSM labels exist, who is logged in and what
// is mounted when the policy is loaded is known to the device alone, and findings say so.
// Trying a policy on files is left to cmd/imasign-build/internal/simulate, which asks
// [Rule.Matches].
//
// All functions may be called from several goroutines at once.
package policy
