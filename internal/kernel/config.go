package kernel

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Config is the configuration of a kernel: the .config of its build, /boot/config-* or an
// unpacked /proc/config.gz.
type Config struct {
	values map[string]string
}

// ReadConfig reads a configuration. It reads at most 16 MiB. It returns an error if no line
// sets a CONFIG_ symbol.
func ReadConfig(r io.Reader) (*Config, error) {
	c := &Config{values: map[string]string{}}
	lines := bufio.NewScanner(io.LimitReader(r, 16<<20))
	for lines.Scan() {
		name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if ok && strings.HasPrefix(name, "CONFIG_") {
			c.values[name] = strings.Trim(value, `"`)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read kernel configuration: %w", err)
	}
	if len(c.values) == 0 {
		return nil, fmt.Errorf("read kernel configuration: no line sets a CONFIG_ symbol: name a .config or a /boot/config-* file")
	}
	return c, nil
}

// Value returns the value of a symbol such as "CONFIG_IMA", or "" if it is not set.
func (c *Config) Value(symbol string) string { return c.values[symbol] }

// Builtin reports whether a symbol is set to "y", so that no module must be loaded.
func (c *Config) Builtin(symbol string) bool { return c.values[symbol] == "y" }

// Provided returns the best value of a symbol and of its implementations for one architecture,
// such as CONFIG_CRYPTO_SHA256_ARM64: "y", "m", or "" if none is set.
func (c *Config) Provided(symbol string) string {
	best := c.values[symbol]
	for name, value := range c.values {
		if strings.HasPrefix(name, symbol+"_") && (value == "y" || value == "m" && best == "") {
			best = value
		}
	}
	return best
}

// HashSymbol returns the symbol that enables a hash algorithm, or "" for an algorithm that no
// kernel has supported since 2021.
func HashSymbol(h ima.HashID) string {
	switch name := h.String(); name {
	case "md4", "md5", "sha1", "rmd160", "sm3":
		return "CONFIG_CRYPTO_" + strings.ToUpper(name)
	case "sha224", "sha256":
		return "CONFIG_CRYPTO_SHA256"
	case "sha384", "sha512":
		return "CONFIG_CRYPTO_SHA512"
	case "wp256", "wp384", "wp512":
		return "CONFIG_CRYPTO_WP512"
	case "streebog256", "streebog512":
		return "CONFIG_CRYPTO_STREEBOG"
	case "sha3-256", "sha3-384", "sha3-512":
		return "CONFIG_CRYPTO_SHA3"
	}
	return ""
}
