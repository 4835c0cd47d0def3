// Package kernel says which Linux something is meant for: its release ([Version]), and
// how it was built ([Config]).
//
// Which rules follow from that is for the packages that know them: certs for
// certificates, policy for IMA policies, initramfs for what a hook needs.
package kernel

// Profile is a kernel as far as it is known.
type Profile struct {
	Version Version // the zero value stands for the newest that is known
	Config  *Config // nil if it is not known
}
