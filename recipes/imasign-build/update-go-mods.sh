#!/bin/sh
# Writes imasign-build-go-mods.inc beside this script, or to the file in the first argument. It
# lists every module file that the go command reads to build cmd/imasign-build, as SRC_URI
# entries for BitBake's gomod fetcher.
#
# The go command fills an empty module cache, and the list is its content: every module with a
# package of the program, and for modules that only shape the graph the go.mod.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/imasign-build-go-mods.inc}
cd "$here/../.."
# First look for modules that this machine already has.
GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)"
cache=$(mktemp -d)
trap 'GOMODCACHE=$cache go clean -modcache; rm -rf "$cache"' EXIT
GOPROXY=$GOPROXY GOMODCACHE=$cache GOFLAGS=-mod=readonly GOOS=linux CGO_ENABLED=1 GOWORK=off \
	go list -deps ./cmd/imasign-build >/dev/null

entries() {
	find "$cache/cache/download" -path '*/@v/*' \( -name '*.zip' -o -name '*.mod' \) | LC_ALL=C sort | while read -r file; do
		# A zip contains its go.mod.
		case $file in *.mod) [ ! -e "${file%.mod}.zip" ] || continue ;; esac
		# In paths a capital letter is written as ! and the small letter.
		path=$(printf %s "${file#"$cache/cache/download/"}" | sed 's/!\([a-z]\)/\U\1/g')
		module=${path%/@v/*}
		version=${path##*/@v/}
		only=
		case $file in *.mod) only='mod=1;' ;; esac
		printf '    gomod://%s;version=%s;%ssha256sum=%s \\\n' "$module" "${version%.*}" "$only" "$(sha256sum "$file" | cut -d' ' -f1)"
	done
}

{
	cat <<'END'
# Written by update-go-mods.sh; tests/bitbake compares it with go.mod.
SRC_URI += "\
END
	entries
	echo '"'
} >"$cache/list"
mv "$cache/list" "$out"
