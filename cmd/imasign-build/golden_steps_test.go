package main

// goldenSteps are the commands of each part: the arguments, after the expected exit code if
// it is not 0. Each part runs in a directory with the inputs of goldenInputs and writes to
// the directory out. {key} and {other} are the keys; each part runs twice, and they change
// places. Standard output goes to the file after ">". "xattrs TREE" writes the xattrs of a
// tree.
//
// There is no part for OpenPGP signatures, which contain the current time, and none for
// repositories, because createrepo_c makes their metadata.
var goldenSteps = map[string]string{
	// Signatures outside of the tree.
	"tree": `
		rootfs sign --dry-run --manifest out/digests.jsonl tree
		rootfs sign --dry-run --hash sha3-384 --select executable --exclude /bin/program --manifest out/executable.jsonl tree
		rootfs sign {sign} --output restore --restore-file out/all.restore --manifest out/all.jsonl --json --verbose tree >out/all.json
		rootfs sign {sign} --output restore --hashed etc/ --exclude /bin/program --exclude *.log tree >out/selected.restore
		rootfs sign {sign} --output restore --hash sha512 --select executable --manifest out/sha512.jsonl tree >out/sha512.restore
		tar create tree -o out/plain.tar
		tar create tree -o out/plain.tar.gz
		tar create tree -o out/plain.tar.zst
		tar create {sign} --sign --hashed etc/ --exclude *.log --manifest out/created.jsonl tree -o out/created.tar
		manifest sign {sign} out/digests.jsonl -o out/signed.jsonl
		manifest sign {sign} out/executable.jsonl >out/executable-signed.jsonl
		manifest apply {trust} out/signed.jsonl out/plain.tar -o out/applied.tar
		manifest apply {trust} out/signed.jsonl out/plain.tar.gz -o out/applied.tar.zst
		3 manifest diff --json out/digests.jsonl out/signed.jsonl >out/diff.json`,
	// Signatures in the tree: made, replaced, removed, applied.
	"xattrs": `
		rootfs sign {sign} --hashed etc/ --exclude *.log --manifest out/sign.jsonl --json tree >out/sign.json
		xattrs tree >out/sign.xattrs
		rootfs verify {trust} --hashed etc/ --exclude *.log --json --verbose tree >out/verify.json
		3 rootfs verify {trust} --json tree >out/verify-all.json
		rootfs sign {sign} --manifest out/again.jsonl tree
		tar create tree -o out/tree.tar
		rootfs sign {sign-other} --force --select executable --hash sha384 --manifest out/other.jsonl tree
		xattrs tree >out/other.xattrs
		rootfs strip --exclude /lib --json tree >out/strip.json
		xattrs tree >out/strip.xattrs
		rootfs strip tree
		xattrs tree >out/none.xattrs
		manifest apply {trust} --json out/sign.jsonl tree >out/apply.json
		xattrs tree >out/apply.xattrs`,
	"tar": `
		tar sign --dry-run --hash sha512 --manifest out/digests.jsonl {archives}/gnu.tar
		tar sign {sign} --force --manifest out/bsdtar.jsonl {archives}/bsdtar.tar -o out/bsdtar.tar
		tar sign {sign} --manifest out/global.jsonl {archives}/global.tar -o out/global.tar
		tar sign {sign} --json {archives}/gnu.tar -o out/gnu.tar --manifest out/gnu.jsonl >out/gnu.json
		tar sign {sign} {archives}/label.tar -o out/label.tar
		tar sign {sign} {archives}/oldgnu.tar -o out/oldgnu.tar
		tar sign {sign} --force {archives}/pax-sparse-0.0.tar -o out/pax-sparse-0.0.tar
		tar sign {sign} --force {archives}/pax-sparse-0.1.tar -o out/pax-sparse-0.1.tar
		tar sign {sign} --force {archives}/pax-sparse-1.0.tar -o out/pax-sparse-1.0.tar
		tar sign {sign} {archives}/ustar.tar -o out/ustar.tar
		tar sign {sign} {archives}/v7.tar -o out/v7.tar
		tar strip {archives}/bsdtar.tar --json -o out/bsdtar-strip.tar >out/bsdtar-strip.json
		tar strip {archives}/pax-sparse-1.0.tar -o out/pax-strip.tar
		tar strip out/gnu.tar -o out/gnu-strip.tar
		tar strip out/gnu.tar -o out/gnu-strip.tar.gz
		tar strip out/gnu.tar -o out/gnu-strip.tar.zst
		tar strip out/gnu.tar -o out/gnu-strip.tar.xz
		tar strip out/gnu.tar -o out/gnu-strip.tar.bz2
		tar strip out/gnu.tar -o out/gnu-strip.tar.lz4
		tar sign {sign} out/gnu-strip.tar.gz -o out/from-gzip.tar
		tar sign {sign} out/gnu-strip.tar.zst -o out/from-zstd.tar
		tar sign {sign} out/gnu-strip.tar.xz -o out/from-xz.tar
		tar sign {sign} out/gnu-strip.tar.bz2 -o out/from-bzip2.tar
		tar sign {sign} out/gnu-strip.tar.lz4 --compression gzip -o out/from-lz4
		tar sign {sign} out/gnu-strip.tar.xz -o - >out/to-stdout
		manifest apply {trust} out/gnu.jsonl out/gnu-strip.tar.zst -o out/applied.tar
		tar verify {trust} --json --verbose out/gnu.tar >out/verify.json
		3 tar verify {trust} --json {archives}/bsdtar.tar >out/verify-stale.json`,
	"oci": `
		tar sign --oci {sign} --manifest out/layout.jsonl --json layout -o out/layout >out/layout.json
		tar sign --oci {sign} --manifest out/docker.jsonl docker.tar -o out/docker.tar
		tar verify --oci {trust} --json out/layout >out/verify.json
		tar strip --oci out/layout -o out/layout-strip
		tar strip --oci out/docker.tar -o out/docker-strip.tar`,
	// Some packages cannot be signed: exit code 1.
	"rpm": `
		1 rpm sign {sign} --force --output-dir out/forced --json packages >out/forced.json
		1 rpm sign {sign} --check files --output-dir out/kept packages
		rpm sign {sign} --force --output-dir out/named --manifest out/named.jsonl packages/v4/rich.rpm packages/v4/sha512.p256.rpm packages/v4/verity.rpm
		rpm sign --dry-run --manifest out/dry.jsonl packages/v6/rich.rpm packages/v6/no-reserve.rpm
		rpm strip --output-dir out/stripped packages
		rpm strip --output-dir out/stripped-named --manifest out/stripped.jsonl out/named
		rpm digests -o out/digests.jsonl packages/v4/sha256.rpm packages/v6
		rpm digests packages/v4/sha256.rpm >out/one.jsonl
		manifest sign {sign} --force out/digests.jsonl -o out/signed.jsonl
		manifest apply {trust} --force --output-dir out/applied out/signed.jsonl packages/v6/rich.rpm packages/v6/sha512.rpm packages/v4/sha256.rpm
		rpm verify {trust} --json --verbose out/forced >out/verify.json
		3 rpm verify {trust} --json packages >out/verify-packages.json
		rpm show --json packages >out/show.json`,
	"initramfs": `
		initramfs bundle {trust} --shell-elsewhere --json -o out/bundle.cpio >out/bundle.json
		initramfs bundle {trust} --shell-elsewhere -o out/bundle.cpio.gz
		initramfs bundle {trust} --shell-elsewhere -o out/bundle.cpio.zst
		initramfs bundle {trust} --shell-elsewhere -o out/bundle.cpio.xz
		initramfs bundle {trust} --shell-elsewhere -o out/bundle.cpio.bz2
		initramfs bundle {trust} --shell-elsewhere -o out/bundle.cpio.lz4`,
}
