// Package kernel describes a Linux kernel: its release ([Version]) and its configuration
// ([Config]).
//
// The packages certs, policy and initramfs have the rules that depend on them.
package kernel

// Profile is what is known about a kernel.
type Profile struct {
	Version Version // the zero value means the newest release with known rules
	Config  *Config // nil if it is not known
}
