#!/bin/sh
# Loads IMA certificates and the IMA policy, then hands over to the root file system.
#
# Files of an initramfs have no signatures. Once the policy is loaded, the kernel executes
# none of them. Therefore this script runs other programs only before that. Afterwards it
# uses only builtins of the shell, and the next program is the signed, static switch_root
# of the root file system.
#
# The second part of this script is for one kind of initramfs. It sets imasign_root, the
# mount point of the root file system, defines imasign_before_moves, which ends services
# of the initramfs, and calls imasign_main INIT [ARGUMENT…].

IMASIGN_SWITCH_ROOT=@SWITCH_ROOT@
IMASIGN_ALLOW_OFF=@ALLOW_OFF@
IMASIGN_EVM_V3=@EVM_V3@
IMASIGN_KEYS=/etc/keys
IMASIGN_POLICIES=/etc/ima
IMASIGN_SECURITYFS=/sys/kernel/security
IMASIGN_CONSOLE=/dev/console

imasign_state="the policy was not loaded"

imasign_say() {
	if [ -c "$IMASIGN_CONSOLE" ]; then
		printf 'imasign: %s\n' "$*" >"$IMASIGN_CONSOLE"
	elif [ -c "$imasign_root$IMASIGN_CONSOLE" ]; then # /dev was moved
		printf 'imasign: %s\n' "$*" >"$imasign_root$IMASIGN_CONSOLE"
	else
		printf 'imasign: %s\n' "$*" >&2
	fi
}

# Reports what failed and the state of the device. When the first process ends, the kernel
# panics. panic=SECONDS on the command line makes it reboot then.
imasign_stop() {
	imasign_say "$*"
	imasign_say "stopped: $imasign_state"
	trap - 0 # no emergency shell either
	exit 1
}

# If the word occurs twice, the last one counts, as in the kernel.
imasign_read_off() {
	imasign_off=no
	imasign_line=
	read -r imasign_line </proc/cmdline || [ -n "$imasign_line" ] || imasign_stop "cannot read /proc/cmdline"
	set -f
	for imasign_word in $imasign_line; do
		case $imasign_word in
		--) break ;;
		ima_appraise=off) imasign_off=yes ;;
		ima_appraise=*) imasign_off=no ;;
		esac
	done
	set +f
	[ "$imasign_off" = yes ] || return 0
	if [ "$IMASIGN_ALLOW_OFF" = yes ]; then
		imasign_say "ima_appraise=off: NO POLICY IS LOADED, unsigned files are executed too"
		imasign_state="ima_appraise=off, no policy is loaded"
	else
		imasign_say "ima_appraise=off is ignored and the policy loaded: this initramfs was built without --allow-off"
		imasign_off=no
	fi
}

# Finds mistakes while the device can still report them. This executes no program of the
# root file system, because no signature has been verified yet.
imasign_check_rootfs() {
	for imasign_dir in dev proc sys run; do
		[ -d "$imasign_root/$imasign_dir" ] ||
			imasign_stop "the root file system at $imasign_root has no /$imasign_dir to move the mount to: was it mounted?"
	done
	[ ! -h "$imasign_root$IMASIGN_SWITCH_ROOT" ] ||
		imasign_stop "$IMASIGN_SWITCH_ROOT of the root file system is a symbolic link, which has another target in the initramfs: build the initramfs with the path of the program itself (--switch-root)"
	[ -x "$imasign_root$IMASIGN_SWITCH_ROOT" ] ||
		imasign_stop "the root file system has no $IMASIGN_SWITCH_ROOT: add a signed static switch_root to it (in Yocto packagegroup-imasign), or name another one with --switch-root"
	# An absolute link has another target in the initramfs.
	[ -x "$imasign_root$1" ] || [ -h "$imasign_root$1" ] ||
		imasign_stop "the root file system has no $1: is init= right?"
}

# Chooses the policy, and checks that this shell can load it without running a program.
imasign_choose_policy() {
	imasign_policy=$IMASIGN_POLICIES/ima_policy
	[ -e "$imasign_policy" ] || imasign_policy=$IMASIGN_POLICIES/ima_policy.default
	[ -s "$imasign_policy" ] || imasign_stop "the initramfs has no policy, or an empty one, in $imasign_policy"
	for imasign_word in printf read '['; do
		case $(type "$imasign_word") in
		*builtin* | *built-in*) ;;
		*) imasign_stop "$imasign_word is not a builtin of this shell, and no program can run once the policy is loaded: use dash, bash or the ash of busybox" ;;
		esac
	done
}

imasign_mount_securityfs() {
	[ -d "$IMASIGN_SECURITYFS/ima" ] || mount -t securityfs securityfs "$IMASIGN_SECURITYFS" ||
		imasign_stop "cannot mount securityfs: does the kernel have CONFIG_SECURITYFS?"
	[ -d "$IMASIGN_SECURITYFS/ima" ] ||
		imasign_stop "the kernel has no IMA: is CONFIG_IMA set?"
	[ -e "$IMASIGN_SECURITYFS/ima/policy" ] || [ "$imasign_off" = yes ] ||
		imasign_stop "the kernel accepts no policy: one was loaded already, and the kernel has no CONFIG_IMA_WRITE_POLICY"
}

# Sets imasign_keys to the number of keys in a keyring: "" if there is no such keyring,
# "empty" if it has no keys.
imasign_count_keys() {
	imasign_keys=
	[ -r /proc/keys ] || imasign_stop "cannot read /proc/keys: does the kernel have CONFIG_KEYS?"
	while read -r _ _ _ _ _ _ _ imasign_type imasign_name imasign_count; do
		if [ "$imasign_type $imasign_name" = "keyring $1:" ]; then imasign_keys=$imasign_count; fi
	done </proc/keys
}

imasign_keyring_filled() {
	imasign_count_keys "$1"
	[ -n "$imasign_keys" ] && [ "$imasign_keys" != empty ]
}

# imasign_add KEYRING CERTIFICATE. Only .evm does not accept issuers in
# .secondary_trusted_keys.
imasign_add() {
	command -v keyctl >/dev/null ||
		imasign_stop "$2 cannot be loaded into $1 without keyctl: add it to the initramfs (keyutils)"
	imasign_why=$(keyctl padd asymmetric "" "%:$1" <"$2" 2>&1 >/dev/null) || {
		imasign_issuer="its issuer must be compiled in (CONFIG_SYSTEM_TRUSTED_KEYS)"
		[ "$1" = .evm ] || imasign_issuer="$imasign_issuer, or be a secondary CA"
		imasign_stop "the kernel refused $2 for $1 ($imasign_why): $imasign_issuer; imasign-build key check tells more"
	}
}

# imasign_load KEYRING PREFIX: loads the certificates of the initramfs, then those of the
# root file system that the initramfs does not have. The kernel checks their issuers, except
# in keyrings that begin with _.
imasign_load() {
	for imasign_cert in "$IMASIGN_KEYS/$2"*.der "$imasign_root$IMASIGN_KEYS/$2"*.der; do
		if [ ! -f "$imasign_cert" ]; then
			[ ! -h "$imasign_cert" ] || imasign_say "$imasign_cert is a symbolic link whose target is not in the initramfs, and is not loaded"
			continue
		fi
		case $imasign_cert in
		"$IMASIGN_KEYS/x509_ima.der" | "$IMASIGN_KEYS/x509_evm.der") ! imasign_keyring_filled "$1" || continue ;;
		"$IMASIGN_KEYS/"*) ;;
		*)
			! cmp -s "$imasign_cert" "$IMASIGN_KEYS/${imasign_cert##*/}" || continue
			case $1 in
			_*)
				imasign_say "$imasign_cert is not loaded: the kernel does not check the issuers of certificates in $1"
				continue
				;;
			esac
			;;
		esac
		imasign_add "$1" "$imasign_cert"
	done
}

# imasign_needs KEYRING PREFIX SYMBOL: stops if there is a certificate, but no keyring for it.
imasign_needs() {
	imasign_count_keys "$1"
	[ -z "$imasign_keys" ] || return 0
	for imasign_cert in "$IMASIGN_KEYS/$2"*.der "$imasign_root$IMASIGN_KEYS/$2"*.der; do
		[ ! -f "$imasign_cert" ] ||
			imasign_stop "$imasign_cert cannot be loaded: the kernel has no keyring $1 ($3)"
	done
}

# imasign_choose_keyring NAME: sets imasign_keyring to .NAME, or to _NAME if the kernel has
# no trusted keyrings.
imasign_choose_keyring() {
	imasign_keyring=.$1
	imasign_count_keys "$imasign_keyring"
	[ -z "$imasign_keys" ] || return 0
	command -v keyctl >/dev/null ||
		imasign_stop "the kernel has no .$1 keyring (CONFIG_INTEGRITY_TRUSTED_KEYRING), and its replacement _$1 cannot be made without keyctl"
	imasign_say "the kernel has no .$1 keyring (CONFIG_INTEGRITY_TRUSTED_KEYRING): certificates go into _$1, whose issuers the kernel does not check, and root may add others"
	keyctl newring "_$1" @u >/dev/null || imasign_stop "cannot make the keyring _$1"
	imasign_keyring=_$1
}

# Revoked certificates are loaded first, so that no signature by their keys is accepted in
# between. Secondary CAs are loaded before the certificates that they issued. The kernel
# itself loads only x509_ima.der (CONFIG_IMA_LOAD_X509).
imasign_load_certificates() {
	imasign_needs .ima_blacklist x509_revoked CONFIG_IMA_BLACKLIST_KEYRING
	imasign_load .ima_blacklist x509_revoked
	imasign_needs .secondary_trusted_keys x509_secondary CONFIG_SECONDARY_TRUSTED_KEYRING
	imasign_load .secondary_trusted_keys x509_secondary
	[ -s "$IMASIGN_KEYS/x509_ima.der" ] || imasign_stop "the initramfs has no $IMASIGN_KEYS/x509_ima.der"
	imasign_choose_keyring ima
	imasign_load "$imasign_keyring" x509_ima
	imasign_keyring_filled "$imasign_keyring" ||
		imasign_stop "the keyring $imasign_keyring is empty: the kernel refused $IMASIGN_KEYS/x509_ima.der"
}

# Sets imasign_evm to yes if the initramfs has a certificate for EVM. EVM must then be
# enabled. The kernel itself loads only x509_evm.der (CONFIG_EVM_LOAD_X509).
imasign_load_evm_certificates() {
	imasign_evm=no
	[ -s "$IMASIGN_KEYS/x509_evm.der" ] || return 0
	imasign_evm=yes
	[ -e "$IMASIGN_SECURITYFS/evm" ] || imasign_stop "the kernel has no EVM: is CONFIG_EVM set?"
	imasign_choose_keyring evm
	imasign_load "$imasign_keyring" x509_evm
	imasign_keyring_filled "$imasign_keyring" ||
		imasign_stop "the keyring $imasign_keyring is empty: the kernel refused $IMASIGN_KEYS/x509_evm.der, whose issuer must be compiled in (CONFIG_SYSTEM_TRUSTED_KEYS)"
}

# Enables EVM (bit 1), makes it demand version 3 signatures if that was asked for (bit 3),
# and closes it against changes until the next boot (bit 31). This must happen before the
# policy is loaded, because the kernel keeps the results of earlier appraisals. The kernel
# accepts the value even if it has no key. It does not show bit 31 to readers, and the second
# digit only to those that read both at once. Some shells read single bytes, and see 1 for 10:
# the write would have failed if bit 3 were not set.
imasign_enable_evm() {
	[ "$imasign_evm" = yes ] || return 0
	imasign_bits=0x80000002 imasign_states="2 or 3" imasign_why=
	[ "$IMASIGN_EVM_V3" != yes ] ||
		imasign_bits=0x8000000a imasign_states="10 or 11" imasign_why=", or the kernel is older than 7.1, and cannot demand version 3 signatures"
	printf %s "$imasign_bits" >"$imasign_root$IMASIGN_SECURITYFS/evm" ||
		imasign_stop "the kernel refused to enable EVM: something in the initramfs has closed it already$imasign_why"
	imasign_value=
	read -r imasign_value <"$imasign_root$IMASIGN_SECURITYFS/evm" || [ -n "$imasign_value" ] ||
		imasign_stop "cannot read the state of EVM"
	case $imasign_states:$imasign_value in
	2*:[23]) imasign_say "EVM is enabled" ;;
	10*:1 | 10*:1[01]) imasign_say "EVM is enabled, and demands version 3 signatures" ;;
	*) imasign_stop "EVM is not enabled as it must be: its state is $imasign_value, not $imasign_states" ;;
	esac
}

# This happens before the policy is loaded, because mount is a program.
imasign_move_mounts() {
	imasign_before_moves
	for imasign_dir in dev proc sys run; do
		mount --move "/$imasign_dir" "$imasign_root/$imasign_dir" ||
			imasign_stop "cannot move /$imasign_dir to the root file system"
	done
	cd "$imasign_root" || imasign_stop "cannot enter $imasign_root"
}

# From here on, only builtins are used. The kernel accepts one rule per write. It drops all
# of them if one is wrong. They take effect when the file is closed.
imasign_load_policy() {
	imasign_number=0
	imasign_rules=0
	imasign_signed_policies=no
	while IFS= read -r imasign_rule || [ -n "$imasign_rule" ]; do
		imasign_number=$((imasign_number + 1))
		case $imasign_rule in
		'' | '#'*) continue ;;
		appraise*func=POLICY_CHECK*) imasign_signed_policies=yes ;;
		esac
		printf '%s\n' "$imasign_rule" ||
			imasign_stop "the kernel refused line $imasign_number of $imasign_policy, and with it the file: $imasign_rule (imasign-build policy check says why; a policy that was loaded earlier may demand signed ones)"
		imasign_rules=$((imasign_rules + 1))
	done <"$imasign_policy" >"$imasign_root$IMASIGN_SECURITYFS/ima/policy" ||
		imasign_stop "the kernel accepts no policy: one was loaded already, and the kernel has no CONFIG_IMA_WRITE_POLICY"
	[ "$imasign_rules" -gt 0 ] || imasign_stop "$imasign_policy has no rule"
	imasign_state="the policy $imasign_policy IS LOADED, and nothing unsigned can be executed"
}

# The kernel itself reads these files, below the mount point of the root file system. It
# demands their signatures if a rule says so.
imasign_load_signed_policies() {
	for imasign_file in "$imasign_root$IMASIGN_POLICIES"/ima_policy*; do
		[ -f "$imasign_file" ] || continue
		if [ "$imasign_signed_policies" = no ]; then
			imasign_say "$imasign_file is not loaded: $imasign_policy has no rule appraise func=POLICY_CHECK, so the kernel would not check its signature"
			continue
		fi
		printf '%s\n' "$imasign_file" >"$imasign_root$IMASIGN_SECURITYFS/ima/policy" ||
			imasign_stop "the kernel refused the policy $imasign_file: is it signed, by a key whose certificate is loaded, and does the kernel have CONFIG_IMA_WRITE_POLICY? imasign-build policy check checks its rules"
		imasign_say "loaded the signed policy $imasign_file"
	done
}

# If exec were refused, the shell would end without a message. A refused child process does
# not end it.
imasign_check_switch_root() {
	"$imasign_root$IMASIGN_SWITCH_ROOT" --version >"$imasign_root/dev/null" 2>&1
	case $? in
	126) imasign_stop "the kernel refused $IMASIGN_SWITCH_ROOT of the root file system: is it signed, by a key whose certificate is loaded, and is it for this machine?" ;;
	127) imasign_stop "$IMASIGN_SWITCH_ROOT of the root file system does not run: is it a static program?" ;;
	esac
}

# imasign_main INIT [ARGUMENT…]
imasign_main() {
	imasign_read_off
	imasign_check_rootfs "$1"
	imasign_choose_policy
	imasign_mount_securityfs
	imasign_load_certificates
	imasign_load_evm_certificates
	imasign_move_mounts
	if [ "$imasign_off" = no ]; then
		imasign_enable_evm
		imasign_load_policy
		imasign_load_signed_policies
	fi
	imasign_check_switch_root
	exec "$imasign_root$IMASIGN_SWITCH_ROOT" "$imasign_root" "$@"
}
