// Package kernel boots Linux in QEMU and has it judge what imasign-build makes: keys,
// signed trees, packages and archives, the initramfs and its policy. What policy
// simulate and policy check say beforehand is held against what the kernel does.
//
// build.sh (make kernel) makes the kernels. guest is the program that runs in the
// machine; a test gives it a plan and compares what it reports.
package kernel
