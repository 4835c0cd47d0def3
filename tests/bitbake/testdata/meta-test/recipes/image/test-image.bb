SUMMARY = "A small image whose packages are installed by dnf from the feed"
LICENSE = "MIT"
PACKAGE_INSTALL = "test-files"
IMAGE_LINGUAS = ""
IMAGE_FEATURES = ""
IMAGE_FSTYPES = "${TEST_FSTYPES}"
inherit image
# Neither kernel nor cross tools.
KERNELDEPMODDEPEND = ""
KERNEL_DEPLOY_DEPEND = ""
LDCONFIGDEPEND = ""
USE_DEPMOD = "0"
