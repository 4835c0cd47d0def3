package initramfs

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

// Hook is the kind of initramfs that a bundle is for.
type Hook string

// The hooks.
const (
	// Framework is a module of OE-core's initramfs-framework, in place of 99-finish.
	Framework Hook = "initramfs-framework"
	// Dracut is a directory for /usr/lib/dracut/modules.d, for an initramfs whose init is
	// not systemd.
	Dracut Hook = "dracut"
	// Standalone is the /init of an initramfs of its own. It mounts the device of root=.
	Standalone Hook = "standalone"
)

// Hooks returns every hook.
func Hooks() []Hook { return []Hook{Framework, Dracut, Standalone} }

// ParseHook returns the hook of that name, or ErrOption.
func ParseHook(word string) (Hook, error) {
	for _, h := range Hooks() {
		if string(h) == word {
			return h, nil
		}
	}
	return "", wrongOption("hook %q: give one of %s", word, list(Hooks()))
}

// dracutModule is a directory where dracut finds modules. Modules with lower numbers, which
// install an init, come before.
const dracutModule = "usr/lib/dracut/modules.d/98imasign"

// sources are the hooks. Each consists of a common body and a second part for its kind. The
// BitBake layer installs the same files.
//
//go:embed hooks/*.sh
var sources embed.FS

// script returns a hook as one file.
func (o *Options) script(kind string) ([]byte, error) {
	var text []byte
	for _, name := range []string{"body", kind} {
		part, err := sources.ReadFile("hooks/" + name + ".sh")
		if err != nil {
			return nil, fmt.Errorf("the hook's source: %w", err)
		}
		text = append(text, part...)
	}
	word := map[bool]string{true: "yes", false: "no"}
	return []byte(strings.NewReplacer(
		"@SWITCH_ROOT@", o.SwitchRoot, "@ALLOW_OFF@", word[o.AllowOff], "@EVM_V3@", word[o.EVMVersion3],
	).Replace(string(text))), nil
}

func (b *builder) hook() error {
	switch b.options.Hook {
	case Framework:
		return b.addScript("framework", "init.d/95-imasign")
	case Standalone:
		for _, dir := range []string{"dev", "proc", "run", "sys", "sysroot"} {
			b.put(File{Path: dir, Mode: fs.ModeDir | 0o755})
		}
		return b.addScript("standalone", "init")
	}
	setup, err := sources.ReadFile("hooks/module-setup.sh")
	if err != nil {
		return fmt.Errorf("the hook's source: %w", err)
	}
	b.put(File{Path: b.prefix + "module-setup.sh", Mode: 0o755, Data: setup})
	return b.addScript("dracut", b.prefix+"imasign.sh")
}

func (b *builder) addScript(kind, name string) error {
	text, err := b.options.script(kind)
	if err != nil {
		return err
	}
	b.put(File{Path: name, Mode: 0o755, Data: text})
	return nil
}
