// Package systemd checks the units of the signing service with systemd's own tools.
package systemd
