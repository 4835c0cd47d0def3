
# A pre-pivot hook of dracut without systemd. It does not return: what dracut's own
# init does between this and switch_root is done here.

imasign_root=$NEWROOT

imasign_before_moves() {
	source_hook cleanup
	udevadm control --exit
	udevadm info --cleanup-db
	[ ! -h /dev/root ] || rm -f /dev/root
	wait_for_loginit
}

# The words of the command line that init gets: those behind init=, else what names a
# runlevel.
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
	imasign_stop "systemd is the init of this initramfs, and runs systemctl, which is not signed, to switch to the root file system: build it with dracut --omit 'systemd systemd-initrd dracut-systemd'"
fi
imasign_dracut_main
