package policy

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Config is a kernel's configuration: the .config of its build, /boot/config-* or
// an unpacked /proc/config.gz.
type Config struct {
	values map[string]string
}

// ReadConfig reads a configuration. A file in which no line sets a CONFIG_ symbol
// is an error.
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
		return nil, fmt.Errorf("read kernel configuration: no line sets a CONFIG_ symbol")
	}
	return c, nil
}

// Value returns what a symbol ("CONFIG_IMA") is set to, "" for one that is not set.
func (c *Config) Value(symbol string) string { return c.values[symbol] }

func (c *Config) builtin(symbol string) bool { return c.values[symbol] == "y" }

// provided returns "y" or "m" for the best of a symbol and its implementations for
// one architecture, such as CONFIG_CRYPTO_SHA256_ARM64; "" without any.
func (c *Config) provided(symbol string) string {
	best := c.values[symbol]
	for name, value := range c.values {
		if strings.HasPrefix(name, symbol+"_") && (value == "y" || value == "m" && best == "") {
			best = value
		}
	}
	return best
}
