SUMMARY = "An initramfs of initramfs-framework and what imasign-initramfs adds"
LICENSE = "MIT"
PACKAGE_INSTALL = "initramfs-framework-base test-files"
IMAGE_LINGUAS = ""
IMAGE_FEATURES = ""
IMAGE_FSTYPES = "cpio"
inherit image imasign-initramfs
# Neither kernel nor cross tools.
KERNELDEPMODDEPEND = ""
KERNEL_DEPLOY_DEPEND = ""
LDCONFIGDEPEND = ""
USE_DEPMOD = "0"
