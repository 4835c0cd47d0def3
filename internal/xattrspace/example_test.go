package xattrspace_test

import (
	"fmt"

	"github.com/imasign/imasign-build/internal/xattrspace"
)

func Example() {
	small := xattrspace.Ext{Block: 1024, Inode: 256} // what mkfs.ext4 makes below 512 MiB
	signature := xattrspace.Value{Name: "ima", Size: 3318}
	_, err := small.Place(small.New(), signature)
	fmt.Println(err)
	fmt.Println(small.Remedies(signature))
	fmt.Println(small.Remedies(signature, xattrspace.Value{Name: "evm", Size: 3318}))
	// Output:
	// no room for the xattr ima of 3318 bytes
	// [-b 4096 -O ea_inode]
	// [-O ea_inode]
}
