#!/bin/bash
# dracut's module imasign installs IMA certificates, policies, and the hook that loads them.

# Installed only on request, because the device may not boot with it.
check() {
	require_binaries mount || return 1
	return 255
}

depends() {
	echo base
}

install() {
	local file
	# dracut has chosen its modules before it calls install. systemd runs systemctl to switch
	# to the root file system, and the kernel refuses systemctl once the policy is loaded.
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
	# The kernel knows labels only after a security module has loaded its policy. dracut's
	# module selinux does so at pre-pivot 50.
	if grep -Eqs '^[^#]*(obj|subj)_(user|role|type)=' "$moddir/etc/ima/ima_policy" && ! dracut_module_included selinux; then
		dfatal "imasign: the IMA policy has labels, and the kernel refuses it unless dracut's module selinux is in the initramfs: add the module, or remove the labels"
		exit 1
	fi
	inst_multiple mount || exit 1
	inst_multiple -o cmp
	# The kernel itself loads only x509_ima.der and x509_evm.der.
	if [ "$(find "$moddir/etc/keys" -name '*.der' | wc -l)" -gt 1 ]; then
		inst_multiple keyctl || {
			dfatal "imasign: the hook loads further certificates with keyctl, which is missing: install keyutils"
			exit 1
		}
	else
		inst_multiple -o keyctl
	fi
	inst_hook pre-pivot 99 "$moddir/imasign.sh"
}
