#!/fake/busybox sh
# Stands for mount in an initramfs that is a chroot: what the kernel would mount is bound
# from /fake, and moving is moving. With the last move the programs of the initramfs lose
# their x bits, as the kernel refuses them once a policy is loaded.
echo "mount $*" >>/fake/log
case "$*" in
*" securityfs "*) exec /fake/busybox mount -o bind /fake/securityfs "$4" ;;
--move*)
	/fake/busybox mount -o move "$2" "$3" || exit
	[ "$2" = /run ] || exit 0
	/fake/busybox find /bin /sbin /usr /init -type f -exec /fake/busybox chmod a-x {} +
	[ ! -e /fake/refuse ] || /fake/busybox chmod a-x "${3%/run}/sbin/switch_root.static"
	;;
*" proc "* | *" sysfs "* | *" devtmpfs "* | *" tmpfs "*)
	for last; do :; done
	exec /fake/busybox mount -o bind "/fake$last" "$last"
	;;
*)
	for last; do :; done
	exec /fake/busybox mount -o bind /fake/rootfs "$last"
	;;
esac
