
# A pre-pivot hook of dracut without systemd. It does not return. It does what dracut's own
# init would do after it, up to switch_root.

imasign_root=$NEWROOT

imasign_before_moves() {
	source_hook cleanup
	udevadm control --exit
	udevadm info --cleanup-db
	[ ! -h /dev/root ] || rm -f /dev/root
	wait_for_loginit
}

# Passes init the words of the command line after init=, or else those that name a runlevel.
imasign_dracut_main() {
	imasign_init=
	for imasign_word in "$(getarg real_init=)" "$(getarg init=)" "$(getarg rd.distroinit=)" /sbin/init; do
		[ -n "$imasign_init" ] || imasign_init=$imasign_word
	done
	read -r imasign_line </proc/cmdline || [ -n "$imasign_line" ]
	imasign_behind=no
	set -f
	set --
	for imasign_word in $imasign_line; do
		case $imasign_word in
		init=*) imasign_behind=yes; set -- ;;
		console=* | BOOT_IMAGE=*) ;;
		[0-9] | s | S | single | emergency | auto) set -- "$@" "$imasign_word" ;;
		*) [ "$imasign_behind" = no ] || set -- "$@" "$imasign_word" ;;
		esac
	done
	set +f
	PATH=/usr/sbin:/usr/bin:/sbin:/bin
	imasign_main "$imasign_init" "$@"
}

if [ -n "$DRACUT_SYSTEMD" ] || [ -d /run/systemd/system ]; then
	imasign_stop "systemd is the init of this initramfs. It runs systemctl to switch to the root file system, and systemctl is not signed: build it with dracut --omit 'systemd systemd-initrd dracut-systemd'"
fi
imasign_dracut_main
