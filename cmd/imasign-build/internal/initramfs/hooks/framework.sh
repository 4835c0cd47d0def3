
# A module of initramfs-framework. It runs after the modules that mount the root file system
# (90-rootfs, 91-overlayroot), and in place of 99-finish, which would run programs when the
# kernel already refuses them.

imasign_enabled() {
	[ -n "$ROOTFS_DIR" ]
}

# Does what 99-finish does, including the hooks that run before it: one ends udev's daemon.
imasign_before_moves() {
	for imasign_function in $MODULE_PRE_HOOKS; do
		"$imasign_function" pre finish
	done
	for imasign_mount in /run/media/*; do
		mountpoint -q "$imasign_mount" || continue
		if [ -n "$ROOT_DISK" ] && [ "${imasign_mount##*/}" = "$ROOT_DISK" ]; then
			mkdir -p "$imasign_root/media/$ROOT_DISK"
			mount --move "$imasign_mount" "$imasign_root/media/$ROOT_DISK" || imasign_say "cannot move $imasign_mount"
		else
			umount -f "$imasign_mount" || imasign_say "cannot unmount $imasign_mount"
		fi
	done
}

imasign_run() {
	imasign_root=$ROOTFS_DIR
	imasign_main "${bootparam_init:-/sbin/init}" "$@"
}
