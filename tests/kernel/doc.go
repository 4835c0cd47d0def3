// Package kernel boots Linux in QEMU to judge what imasign-build makes: keys, signed
// trees, packages and archives, the initramfs and its policy. It compares the verdicts of
// policy simulate and policy check with what the kernel does.
//
// build.sh (make kernel) builds the kernels. guest is the program that runs in the
// machine. A test gives it a plan and checks its report.
package kernel
