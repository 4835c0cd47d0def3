package kernel

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Config is a kernel's configuration: the .config of its build, /boot/config-* or
// an unpacked /proc/config.gz.
type Config struct {
	values map[string]string
}

// ReadConfig reads a configuration of up to 16 MiB. A file in which no line sets a
// CONFIG_ symbol is an error.
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

// Value returns what a symbol ("CONFIG_IMA") is set to, "" for one that is not set.
func (c *Config) Value(symbol string) string { return c.values[symbol] }

// Builtin reports whether a symbol is set to "y", so that no module needs to be loaded.
func (c *Config) Builtin(symbol string) bool { return c.values[symbol] == "y" }

// Provided returns "y" or "m" for the best of a symbol and its implementations for
// one architecture, such as CONFIG_CRYPTO_SHA256_ARM64; "" without any.
func (c *Config) Provided(symbol string) string {
	best := c.values[symbol]
	for name, value := range c.values {
		if strings.HasPrefix(name, symbol+"_") && (value == "y" || value == "m" && best == "") {
			best = value
		}
	}
	return best
}

// HashSymbol names the symbol that makes a hash algorithm available; "" for one that no
// kernel has had since 2021.
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
