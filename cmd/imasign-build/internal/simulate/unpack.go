package simulate

import "strings"

// unpacked judges modules that modprobe unpacks itself and loads by init_module. The
// kernel refuses this call if it must appraise modules.
func (s *simulation) unpacked(compression string) refusal {
	const refusal = "modprobe unpacks it and calls init_module, which gets EACCES"
	symbol := "CONFIG_MODULE_COMPRESS_" + strings.ToUpper(compression)
	c := s.Kernel.Config
	switch {
	case s.Kernel.Version.Before(5, 17):
		return refused("", "%s", refusal+"; kernels unpack modules since Linux 5.17")
	case c == nil:
		return depends("", "%s", refusal+", unless the kernel has CONFIG_MODULE_DECOMPRESS and "+symbol)
	case c.Builtin("CONFIG_MODULE_SIG_FORCE"), c.Builtin("CONFIG_MODULE_DECOMPRESS") && c.Builtin(symbol):
		return pass()
	}
	return refused("", "%s", refusal+": the kernel is built without CONFIG_MODULE_DECOMPRESS or "+symbol)
}
