// Package initramfs is the end-to-end tests of initramfs bundle: its archives read by
// other programs, and its hooks run by the shells that an initramfs may have, in a
// chroot with mounts of its own that stands for the device. Real kernels are booted in
// tests/kernel.
package initramfs
