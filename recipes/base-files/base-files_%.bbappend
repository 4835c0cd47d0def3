# IMASIGN_IVERSION: mount points that /etc/fstab mounts with iversion, so that the
# kernel notices that a file was changed. Only for file systems that need the option:
# ext4 counts without it from Linux 6.1 on, xfs and btrfs always did, and busybox's
# mount does not know the word.
IMASIGN_IVERSION ?= ""

do_install:append () {
    for mountpoint in ${IMASIGN_IVERSION}; do
        awk -v at="$mountpoint" '$1 !~ /^#/ && $2 == at { $4 = $4 ",iversion"; found = 1 } { print } END { exit !found }' \
            ${D}${sysconfdir}/fstab > ${WORKDIR}/fstab.imasign ||
            bbfatal "IMASIGN_IVERSION: /etc/fstab mounts nothing at $mountpoint"
        cat ${WORKDIR}/fstab.imasign > ${D}${sysconfdir}/fstab
    done
}
