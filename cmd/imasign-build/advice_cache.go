package main

import (
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
)

// cacheCauses are those of signature caches and of what they are shared as.
func cacheCauses() []cause {
	const other = "name another directory with --cache"
	return []cause{
		{err: sigcache.ErrNewer, kind: "unsupported", advice: "update this program, or use another directory"},
		{err: sigcache.ErrNetwork, kind: "unsupported", advice: "name a directory on a local disk"},
		{err: sigcache.ErrLocked, kind: "busy"},
		{err: sigcache.ErrUnsafe, kind: "refused"},
		{err: sigcache.ErrForeign, kind: "malformed", advice: "name another directory"},
		{err: sigcache.ErrDamaged, kind: "malformed", advice: "`cache verify --remove` replaces it with an empty one"},
		{err: shards.ErrNewer, kind: "unsupported", advice: "update this program", on: "cache import"},
		{err: shards.ErrDamaged, kind: "malformed", advice: "export or copy it again"},
		{err: errNoExport, kind: "not_found", advice: "`cache export` makes one"},
		{err: errNoCache, kind: "not_found", advice: other, flag: "cache"},
	}
}
