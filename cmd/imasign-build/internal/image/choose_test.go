package image

import (
	"errors"
	"fmt"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/disk"
)

// partitioned is an image with three partitions that can be read, and two that cannot.
func partitioned() *Image {
	i := &Image{name: "disk.img"}
	for n, name := range []string{"boot", "root", "data", "data", "a:b"} {
		v := Volume{Partition: disk.Partition{Number: n + 1, Name: name}}
		if n > 0 && n < 4 {
			v.Format = Format{Name: "btrfs"} // with a label that is not read
		}
		i.volumes = append(i.volumes, v)
	}
	return i
}

func TestChoose(t *testing.T) {
	for name, c := range map[string]struct {
		names []string
		want  string
		err   error
	}{
		"a number":                 {[]string{"2"}, "[2 on /]", nil},
		"a label":                  {[]string{"root"}, "[2 on /]", nil},
		"several":                  {[]string{"root:/", "3:/srv/data/", "boot:boot"}, "[2 on / 3 on /srv/data 1 on /boot]", nil},
		"paths in other forms":     {[]string{"2:./srv//data/.", "3://"}, "[2 on /srv/data 3 on /]", nil},
		"a label with a colon":     {[]string{"a:b", "a:b:/data"}, "[5 on / 5 on /data]", nil},
		"no label with a colon":    {[]string{"a:c:d"}, "", ErrNoPartition},
		"a label of two":           {[]string{"data"}, "", ErrSeveral},
		"no such number":           {[]string{"6"}, "", ErrNoPartition},
		"the whole image":          {[]string{"0"}, "", ErrNoPartition},
		"no name":                  {[]string{":/"}, "", ErrNoPartition},
		"nothing that can be read": {nil, "", ErrUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := partitioned().Choose(c.names)
			got := ""
			if err == nil {
				var words []string
				for _, m := range list {
					words = append(words, fmt.Sprintf("%d on /%s", m.Volume.Number, m.At))
				}
				got = fmt.Sprint(words)
			}
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%s, %v; want %s, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestTheOnlyVolumeThatCanBeRead(t *testing.T) {
	i := partitioned()
	i.volumes[4].Format.Readable = true
	if list, err := i.Choose(nil); err != nil || list[0].Volume.Number != 5 {
		t.Errorf("one: %v, %v", list, err)
	}
	i.volumes[2].Format.Readable = true
	if list, err := i.Choose(nil); !errors.Is(err, ErrSeveral) {
		t.Errorf("two: %v, %v", list, err)
	}
	i.volumes = []Volume{{Format: Format{Name: "btrfs"}}}
	if list, err := i.Choose(nil); err != nil || len(list) != 1 {
		t.Errorf("a whole image: %v, %v", list, err)
	}
}
