#!/bin/sh
# Writes imasign-build-go-mods.inc beside this script, or to the file that is named:
# every module file that the go command reads to build cmd/imasign-build, as SRC_URI
# entries for BitBake's gomod fetcher.
#
# The go command knows best what it needs: it fills an empty module cache, and what
# is in there afterwards is the list. That is every module with a package of the
# program, and the go.mod alone of those that only shape the graph.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/imasign-build-go-mods.inc}
cd "$here/../.."
# Asked first: what this machine has already.
GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)"
cache=$(mktemp -d)
trap 'GOMODCACHE=$cache go clean -modcache; rm -rf "$cache"' EXIT
GOPROXY=$GOPROXY GOMODCACHE=$cache GOFLAGS=-mod=readonly GOOS=linux CGO_ENABLED=1 GOWORK=off \
	go list -deps ./cmd/imasign-build >/dev/null

entries() {
	find "$cache/cache/download" -path '*/@v/*' \( -name '*.zip' -o -name '*.mod' \) | LC_ALL=C sort | while read -r file; do
		# A zip has its go.mod in it.
		case $file in *.mod) [ ! -e "${file%.mod}.zip" ] || continue ;; esac
		# In paths a capital letter is ! and the small one.
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
