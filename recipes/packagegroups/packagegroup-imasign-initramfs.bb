SUMMARY = "Packages for an initramfs that loads IMA certificates and a policy"
PACKAGE_ARCH = "${MACHINE_ARCH}"
inherit packagegroup

RDEPENDS:${PN} = "initramfs-module-imasign imasign-key-store-ima-cert imasign-policy"
