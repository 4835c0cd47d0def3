#!/bin/sh
# Shared by v4.sh and v6.sh, which run in a chroot by freeze.sh.
export GNUPGHOME=/tmp/gnupg SOURCE_DATE_EPOCH=1700000000 LC_ALL=C.UTF-8
keys=/frozen/keys

# build NAME SPEC [rpmbuild flags]: NAME.rpm
build() {
	name=$1 spec=$2
	shift 2
	rpmbuild --quiet --define "fixture $name" --define "_topdir /tmp/rpmbuild" --define "_rpmdir $PWD" --define "_srcrpmdir $PWD" \
		--define "_build_name_fmt $name.rpm" --define "_buildhost localhost" --define "use_source_date_epoch_as_buildtime 1" \
		--define "clamp_mtime_to_source_date_epoch 1" --define "build_mtime_policy clamp_to_source_date_epoch" \
		--define "_build_id_links none" --define "__os_install_post %{nil}" --define "debug_package %{nil}" \
		--define "_binary_payload w19.zstdio" "$@" "/frozen/specs/$spec.spec" 2>/dev/null
	[ -e "$name.rpm" ] || mv "imatest-$name"-*.src.rpm "$name.rpm"
}

# rpmsign COPY FROM KEY FLAGS…: runs the rpmsign that signs files on a copy of FROM.rpm. KEY is -
# if it signs none. The command is recorded for the vectors.
rpmsign() {
	copy=$1 from=$2 key=$3
	shift 3
	cp "$from.rpm" "$copy.rpm"
	code=0
	LD_LIBRARY_PATH=/opt/rpm-ima/usr/lib/x86_64-linux-gnu /opt/rpm-ima/usr/bin/rpmsign \
		--define "_gpg_name openpgp-rsa2048" --define "__gpg /usr/bin/gpg" \
		--define "_gpg_sign_cmd_extra_args --faked-system-time=20231114T221320!" "$@" "$copy.rpm" >log 2>&1 || code=$?
	printf '%s\t%s\t%s\t%s\trpmsign %s\t%s\n' "$copy" "$from" "$key" "$code" "$*" "$(grep -c 'identical signature, skipping' log)" >>commands
	rm log
}

# files NAME KEY: the usual way to sign.
files() { rpmsign "$1.$2" "$1" "$2" --addsign --signfiles "--fskpath=$keys/$2.key"; }
