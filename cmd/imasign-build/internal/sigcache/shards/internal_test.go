package shards

import "github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"

// Build returns the shard that Export writes of entries.
func Build(list []sigcache.Entry) (Shard, []byte, error) {
	var b builder
	b.reset(list[0].Address()[0])
	for i := range list {
		if err := b.add(list[i].Address(), &list[i]); err != nil {
			return Shard{}, nil, err
		}
	}
	return b.build()
}
