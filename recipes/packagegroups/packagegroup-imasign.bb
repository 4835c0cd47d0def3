SUMMARY = "What a signed root file system needs"
PACKAGE_ARCH = "${MACHINE_ARCH}"
inherit packagegroup

# switch_root.static comes with DISTRO_FEATURES ima.
RDEPENDS:${PN} = "util-linux-switch-root.static"
# To look at keyrings; in meta-oe.
RRECOMMENDS:${PN} = "${@bb.utils.contains('BBFILE_COLLECTIONS', 'openembedded-layer', 'keyutils', '', d)}"
