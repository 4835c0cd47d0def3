SUMMARY = "Packages for a signed root file system"
PACKAGE_ARCH = "${MACHINE_ARCH}"
inherit packagegroup

# switch_root.static needs ima in DISTRO_FEATURES.
RDEPENDS:${PN} = "util-linux-switch-root.static"
# Shows keyrings; in meta-oe.
RRECOMMENDS:${PN} = "${@bb.utils.contains('BBFILE_COLLECTIONS', 'openembedded-layer', 'keyutils', '', d)}"
