package disk

import "fmt"

// MBRTypes and GPTTypes are the names of types, by the words of sfdisk.
func MBRTypes() map[string]string {
	all := map[string]string{}
	for kind, name := range mbrTypes() {
		all[fmt.Sprintf("%x", kind)] = name
	}
	return all
}

func GPTTypes() map[string]string { return gptTypes() }
