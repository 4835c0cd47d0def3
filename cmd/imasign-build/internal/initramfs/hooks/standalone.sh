
# /init mounts the root file system that the kernel's command line names.

PATH=/sbin:/bin:/usr/sbin:/usr/bin
export PATH
imasign_root=/sysroot

imasign_before_moves() { :; }

imasign_mount_basics() {
	mkdir -p /proc /sys /dev /run "$imasign_root" || imasign_stop "cannot make directories in the initramfs"
	mount -t devtmpfs devtmpfs /dev || imasign_stop "cannot mount /dev: does the kernel have CONFIG_DEVTMPFS?"
	# Before /dev was mounted, the kernel could not open the console.
	if [ -c "$IMASIGN_CONSOLE" ]; then
		exec <"$IMASIGN_CONSOLE"
		exec >"$IMASIGN_CONSOLE" 2>&1
	fi
	mount -t proc proc /proc || imasign_stop "cannot mount /proc"
	mount -t sysfs sysfs /sys || imasign_stop "cannot mount /sys"
	mount -t tmpfs -o mode=0755 tmpfs /run || imasign_stop "cannot mount /run: does the kernel have CONFIG_TMPFS?"
}

imasign_read_command_line() {
	imasign_device='' imasign_types='' imasign_flags='' imasign_mode=ro imasign_init=/sbin/init imasign_wait=10
	read -r imasign_line </proc/cmdline || [ -n "$imasign_line" ] || imasign_stop "cannot read /proc/cmdline"
	set -f
	for imasign_word in $imasign_line; do
		case $imasign_word in
		--) break ;;
		root=*) imasign_device=${imasign_word#root=} ;;
		rootfstype=*) imasign_types=${imasign_word#rootfstype=} ;;
		rootflags=*) imasign_flags=${imasign_word#rootflags=} ;;
		rootdelay=*) sleep "${imasign_word#rootdelay=}" ;;
		rootwait) imasign_wait=-1 ;;
		ro | rw) imasign_mode=$imasign_word ;;
		init=*) imasign_init=${imasign_word#init=} ;;
		esac
	done
	set +f
	[ -n "$imasign_device" ] || imasign_stop "root= is not on the kernel's command line"
}

# Loads the drivers that are modules. /etc/modules has a name or the path of a file per line.
imasign_load_modules() {
	[ -f /etc/modules ] || return 0
	while read -r imasign_module; do
		case $imasign_module in
		'' | '#'*) continue ;;
		/*) insmod "$imasign_module" ;;
		*) modprobe "$imasign_module" ;;
		esac || imasign_say "cannot load the module $imasign_module of /etc/modules"
	done </etc/modules
}

imasign_find_root() {
	case $imasign_device in
	/dev/*) imasign_found=$imasign_device ;;
	UUID=* | LABEL=* | PARTUUID=* | PARTLABEL=*) imasign_found=$(findfs "$imasign_device" 2>/dev/null) ;;
	*) imasign_stop "root=$imasign_device: /dev/NAME, UUID=, LABEL=, PARTUUID= or PARTLABEL= is needed" ;;
	esac
	[ -b "$imasign_found" ]
}

imasign_mount_root() {
	imasign_tries=0
	until imasign_find_root; do
		[ "$imasign_tries" != "$imasign_wait" ] || imasign_stop "root=$imasign_device did not appear within $imasign_wait seconds (rootwait waits forever): does the kernel have its driver?"
		[ "$imasign_tries" != 0 ] || imasign_say "waiting for root=$imasign_device"
		imasign_tries=$((imasign_tries + 1))
		sleep 1
	done
	imasign_options=$imasign_mode${imasign_flags:+,$imasign_flags}
	if [ -z "$imasign_types" ]; then
		mount -o "$imasign_options" "$imasign_found" "$imasign_root" && return
	fi
	while [ -n "$imasign_types" ]; do
		mount -t "${imasign_types%%,*}" -o "$imasign_options" "$imasign_found" "$imasign_root" && return
		case $imasign_types in
		*,*) imasign_types=${imasign_types#*,} ;;
		*) imasign_types= ;;
		esac
	done
	imasign_stop "cannot mount root=$imasign_device ($imasign_options): does the kernel support its file system?"
}

imasign_mount_basics
imasign_read_command_line
imasign_load_modules
imasign_mount_root
imasign_main "$imasign_init" "$@"
