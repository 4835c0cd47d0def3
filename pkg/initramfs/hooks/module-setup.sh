#!/bin/bash
# dracut's module imasign: IMA certificates, policies, and the hook that loads them.

# Only where it is asked for: it decides whether the device boots.
check() {
	require_binaries mount || return 1
	return 255
}

depends() {
	echo base
}

install() {
	local file
	# Modules were chosen when install runs. systemd runs systemctl to switch to the root
	# file system, which the kernel refuses once the policy is loaded.
	if dracut_module_included systemd || dracut_module_included systemd-initrd; then
		dfatal "imasign: an initramfs whose init is systemd cannot load the IMA policy: add --omit 'systemd systemd-initrd dracut-systemd'"
		exit 1
	fi
	# shellcheck disable=SC2154 # dracut sets moddir
	for file in "$moddir"/etc/keys/*.der; do
		inst_simple "$file" "/etc/keys/${file##*/}" || exit 1
	done
	for file in "$moddir"/etc/ima/*; do
		inst_simple "$file" "/etc/ima/${file##*/}" || exit 1
	done
	inst_multiple mount
	inst_multiple -o keyctl cmp
	inst_hook pre-pivot 99 "$moddir/imasign.sh"
}
