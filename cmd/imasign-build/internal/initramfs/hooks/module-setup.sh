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
	# Labels are known once a security module has its policy; the module selinux loads it
	# at pre-pivot 50.
	if grep -Eqs '^[^#]*(obj|subj)_(user|role|type)=' "$moddir/etc/ima/ima_policy" && ! dracut_module_included selinux; then
		dfatal "imasign: the IMA policy has labels, and the kernel refuses it unless the module selinux is in the initramfs: add it, or leave the labels out"
		exit 1
	fi
	inst_multiple mount || exit 1
	inst_multiple -o cmp
	# The kernel itself loads x509_ima.der and no other.
	if [ "$(find "$moddir/etc/keys" -name '*.der' | wc -l)" -gt 1 ]; then
		inst_multiple keyctl || {
			dfatal "imasign: further certificates are loaded by keyctl, which is not here: install keyutils"
			exit 1
		}
	else
		inst_multiple -o keyctl
	fi
	inst_hook pre-pivot 99 "$moddir/imasign.sh"
}
