# IMASIGN_IVERSION: mount points that /etc/fstab mounts with iversion, so that the kernel notices
# when a file changes. Only for file systems that need the option: from Linux 6.1 on ext4 counts
# changes without it, xfs and btrfs always have. busybox's mount does not support the option.
IMASIGN_IVERSION ?= ""

do_install:append () {
    for mountpoint in ${IMASIGN_IVERSION}; do
        awk -v at="$mountpoint" '$1 !~ /^#/ && $2 == at { $4 = $4 ",iversion"; found = 1 } { print } END { exit !found }' \
            ${D}${sysconfdir}/fstab > ${WORKDIR}/fstab.imasign ||
            bbfatal "IMASIGN_IVERSION: /etc/fstab has no mount point $mountpoint: add it or remove it here"
        cat ${WORKDIR}/fstab.imasign > ${D}${sysconfdir}/fstab
    done
}
