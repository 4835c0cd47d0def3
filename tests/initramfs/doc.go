// Package initramfs contains the end-to-end tests of `initramfs bundle`. Other programs
// read its archives. Its hooks run in the shells that an initramfs may have, in a chroot
// that stands for the device. tests/kernel boots real kernels.
package initramfs
