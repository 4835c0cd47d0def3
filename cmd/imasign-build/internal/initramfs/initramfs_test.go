package initramfs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"debug/elf"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/initramfs"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/kernel"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority issues certificates.
type authority struct {
	t      testing.TB
	issuer certs.Issuer
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return key
}

func named(name string) certs.Request {
	return certs.Request{Subject: pkix.Name{CommonName: name}}
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	key := newKey(t)
	ca, err := certs.NewCA(key, named("CA"))
	check(t, err)
	return authority{t, certs.Issuer{Certificate: ca, Key: key}}
}

func (a authority) signer(name string) *x509.Certificate {
	a.t.Helper()
	cert, err := a.issuer.Signer(newKey(a.t).Public(), named(name))
	check(a.t, err)
	return cert
}

// secondary is a CA below this one.
func (a authority) secondary(name string) authority {
	a.t.Helper()
	key := newKey(a.t)
	cert, err := a.issuer.SecondaryCA(key.Public(), named(name))
	check(a.t, err)
	return authority{a.t, certs.Issuer{Certificate: cert, Key: key}}
}

func (a authority) list() []*x509.Certificate { return []*x509.Certificate{a.issuer.Certificate} }

func der(name string, cert *x509.Certificate) initramfs.Input {
	return initramfs.Input{Name: name, Data: cert.Raw}
}

func inPEM(name string, cert *x509.Certificate) initramfs.Input {
	return initramfs.Input{Name: name, Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})}
}

func keyPEM(t testing.TB) []byte {
	t.Helper()
	bytes, err := x509.MarshalPKCS8PrivateKey(newKey(t))
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes})
}

// program is an ELF file of 64 bits with one program header.
func program(kind elf.Type, segment elf.ProgType) []byte {
	var b bytes.Buffer
	header := elf.Header64{Type: uint16(kind), Machine: uint16(elf.EM_AARCH64), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1}
	copy(header.Ident[:], "\x7fELF\x02\x01\x01")
	_ = binary.Write(&b, binary.LittleEndian, header)
	_ = binary.Write(&b, binary.LittleEndian, elf.Prog64{Type: uint32(segment)})
	return b.Bytes()
}

// busybox is a program that is as much of busybox as a bundle looks at.
func busybox(applets ...string) *initramfs.Input {
	const headers = 64 + 56
	names := "BusyBox v1.36.1\x00text of it\x00[\x00[[\x00" + strings.Join(applets, "\x00") + "\x00zcat\x00"
	var b bytes.Buffer
	header := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_AARCH64), Version: 1, Entry: 0x1000 + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1}
	copy(header.Ident[:], "\x7fELF\x02\x01\x01")
	_ = binary.Write(&b, binary.LittleEndian, header)
	size := uint64(headers + len(names))
	_ = binary.Write(&b, binary.LittleEndian, elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: 0x1000, Filesz: size, Memsz: size})
	b.WriteString(names)
	return &initramfs.Input{Name: "busybox", Data: b.Bytes()}
}

// whole has all that /init may run.
func whole() *initramfs.Input {
	return busybox("cmp", "findfs", "insmod", "mkdir", "modprobe", "mount", "sh", "sleep", "umount")
}

// pie is whole as a static PIE.
func pie() *initramfs.Input {
	in := whole()
	in.Data[16] = byte(elf.ET_DYN)
	return in
}

// config is that of a kernel with all that a bundle needs, and with or without (-) more.
func config(t testing.TB, symbols ...string) *kernel.Config {
	t.Helper()
	var text strings.Builder
	for _, symbol := range []string{
		"IMA", "IMA_APPRAISE", "BLK_DEV_INITRD", "SECURITYFS", "PROC_FS", "SYSFS", "KEYS", "BINFMT_SCRIPT", "BINFMT_ELF", "DEVTMPFS", "TMPFS",
		"IMA_BLACKLIST_KEYRING", "SECONDARY_TRUSTED_KEYRING", "INTEGRITY_ASYMMETRIC_KEYS", "RD_GZIP", "CRYPTO_ECDSA", "IMA_LOAD_X509",
	} {
		if !slices.Contains(symbols, "-"+symbol) {
			fmt.Fprintf(&text, "CONFIG_%s=y\n", symbol)
		}
	}
	for _, symbol := range symbols {
		if !strings.HasPrefix(symbol, "-") {
			fmt.Fprintf(&text, "CONFIG_%s=y\n", symbol)
		}
	}
	c, err := kernel.ReadConfig(strings.NewReader(text.String()))
	check(t, err)
	return c
}

func paths(b *initramfs.Bundle) []string {
	var all []string
	for _, f := range b.Files {
		if !f.Mode.IsDir() {
			all = append(all, fmt.Sprintf("%s %s", f.Mode, f.Path))
		}
	}
	return all
}

func TestFiles(t *testing.T) {
	a := newAuthority(t)
	for hook, want := range map[initramfs.Hook][]string{
		initramfs.Framework: {
			"-rw-r--r-- etc/ima/ima_policy", "-rw-r--r-- etc/ima/ima_policy.default", "-rw-r--r-- etc/keys/x509_ima.der", "-rwxr-xr-x init.d/95-imasign",
		},
		initramfs.Standalone: {
			"-rw-r--r-- etc/ima/ima_policy", "-rw-r--r-- etc/ima/ima_policy.default", "-rw-r--r-- etc/keys/x509_ima.der", "-rwxr-xr-x init",
		},
		initramfs.Dracut: {
			"-rw-r--r-- usr/lib/dracut/modules.d/98imasign/etc/ima/ima_policy", "-rw-r--r-- usr/lib/dracut/modules.d/98imasign/etc/ima/ima_policy.default",
			"-rw-r--r-- usr/lib/dracut/modules.d/98imasign/etc/keys/x509_ima.der",
			"-rwxr-xr-x usr/lib/dracut/modules.d/98imasign/imasign.sh", "-rwxr-xr-x usr/lib/dracut/modules.d/98imasign/module-setup.sh",
		},
	} {
		b, err := initramfs.New(initramfs.Options{
			Hook: hook, Certificates: []initramfs.Input{inPEM("a.crt", a.signer("a"))}, CAs: a.list(), SwitchRoot: "/usr/sbin/switch_root.static", AllowOff: true,
			Policy: &initramfs.Input{Name: "mine", Data: []byte("appraise func=POLICY_CHECK appraise_type=imasig\n")}, ShellElsewhere: hook == initramfs.Standalone,
		})
		check(t, err)
		if got := paths(b); !slices.Equal(got, want) {
			t.Errorf("%s: %q", hook, got)
		}
		for _, f := range b.Files {
			if name := f.Path; !strings.HasSuffix(name, "init") && !strings.HasSuffix(name, "imasign") && !strings.HasSuffix(name, "imasign.sh") || f.Mode.IsDir() {
				continue
			}
			for _, line := range []string{"#!/bin/sh\n", "\nIMASIGN_SWITCH_ROOT=/usr/sbin/switch_root.static\n", "\nIMASIGN_ALLOW_OFF=yes\n"} {
				if !strings.Contains(string(f.Data), line) {
					t.Errorf("%s has no line %q", f.Path, line)
				}
			}
			if strings.Contains(string(f.Data), "@") && strings.Contains(string(f.Data), "_ROOT@") {
				t.Errorf("%s has a place that was not filled", f.Path)
			}
		}
	}
}

// TestNames: the first certificate's name is the kernel's, others tell whose they are.
func TestNames(t *testing.T) {
	a := newAuthority(t)
	second := a.secondary("second")
	b, err := initramfs.New(initramfs.Options{
		Hook: initramfs.Framework, CAs: a.list(),
		Certificates: []initramfs.Input{
			der("keys/whatever.der", a.signer("1")), inPEM("keys/x509_ima_rpm.crt", a.signer("2")), der("old/x509_ima.der", second.signer("3")),
			der("old/x509_ima_rpm.der", a.signer("4")), der("x/Böse Namen.der", a.signer("5")), der("x/...", a.signer("6")),
		},
		Secondary: []initramfs.Input{der("x509_secondary.der", second.issuer.Certificate), der("b/x509_secondary_site.der", a.secondary("site").issuer.Certificate)},
		Revoked:   []initramfs.Input{der("r1.der", a.signer("7")), der("r2.der", a.signer("8"))},
	})
	check(t, err)
	var got []string
	for _, name := range paths(b) {
		if _, file, is := strings.Cut(name, "etc/keys/"); is {
			got = append(got, file)
		}
	}
	want := []string{
		"x509_ima.der", "x509_ima_3.der", "x509_ima_4.der", "x509_ima_6.der", "x509_ima_B_se_Namen.der", "x509_ima_rpm.der",
		"x509_revoked.der", "x509_revoked_r2.der", "x509_secondary.der", "x509_secondary_site.der",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestRefusals(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	leaf := a.signer("leaf")
	second := a.secondary("second")
	for name, c := range map[string]struct {
		change func(o *initramfs.Options)
		is     error
		says   string
	}{
		"no hook":        {func(o *initramfs.Options) { o.Hook = "grub" }, initramfs.ErrOption, `"grub": give one of initramfs-framework, dracut and standalone`},
		"no certificate": {func(o *initramfs.Options) { o.Certificates = nil }, initramfs.ErrOption, "a certificate is needed"},
		"relative switch_root": {
			func(o *initramfs.Options) { o.SwitchRoot = "sbin/switch_root" }, initramfs.ErrOption, "an absolute path",
		},
		"switch_root to quote": {
			func(o *initramfs.Options) { o.SwitchRoot = "/sbin/$(reboot)" }, initramfs.ErrOption, "an absolute path",
		},
		"switch_root upwards": {
			func(o *initramfs.Options) { o.SwitchRoot = "/sbin/../x" }, initramfs.ErrOption, "an absolute path",
		},
		"busybox for dracut": {
			func(o *initramfs.Options) {
				o.Hook, o.Busybox = initramfs.Dracut, &initramfs.Input{Name: "busybox", Data: program(elf.ET_EXEC, elf.PT_LOAD)}
			}, initramfs.ErrOption, "the initramfs of dracut has a shell",
		},
		"key for a certificate": {
			func(o *initramfs.Options) { o.Certificates[0].Data = keyPEM(t) }, initramfs.ErrPrivateKey, "leaf.crt: ",
		},
		"key beside a certificate": {
			func(o *initramfs.Options) { o.Certificates[0].Data = append(keyPEM(t), inPEM("", leaf).Data...) }, initramfs.ErrPrivateKey, "give a file that has only the certificate",
		},
		"key in a policy": {
			func(o *initramfs.Options) {
				o.Policy = &initramfs.Input{Name: "mine", Data: append([]byte("appraise func=POLICY_CHECK appraise_type=imasig\n"), keyPEM(t)...)}
			}, initramfs.ErrPrivateKey, "mine: ",
		},
		"key in busybox": {
			func(o *initramfs.Options) {
				o.Busybox = &initramfs.Input{Name: "busybox", Data: append(program(elf.ET_EXEC, elf.PT_LOAD), keyPEM(t)...)}
			}, initramfs.ErrPrivateKey, "busybox: ",
		},
		"two certificates in a file": {
			func(o *initramfs.Options) { o.Certificates[0].Data = bytes.Repeat(inPEM("", leaf).Data, 2) }, initramfs.ErrOption, "leaf.crt: it has 2 certificates",
		},
		"no certificate in the file": {
			func(o *initramfs.Options) { o.Certificates[0].Data = []byte("hello") }, certs.ErrNoCertificate, "leaf.crt: ",
		},
		"a CA for a certificate": {
			func(o *initramfs.Options) { o.Certificates[0] = der("ca.der", a.issuer.Certificate) }, initramfs.ErrRefused, "keyCertSign",
		},
		"other issuer": {
			func(o *initramfs.Options) { o.Certificates = append(o.Certificates, der("o.der", other.signer("o"))) }, initramfs.ErrRefused, "o.der: the kernel would refuse it:\n  issuer: ",
		},
		"issuer is a secondary that is not there": {
			func(o *initramfs.Options) { o.Certificates[0] = der("s.der", second.signer("s")) }, initramfs.ErrRefused, "issuer",
		},
		"secondary of another CA": {
			func(o *initramfs.Options) {
				o.Secondary = []initramfs.Input{der("s.der", other.secondary("s").issuer.Certificate)}
			}, initramfs.ErrRefused, "issuer",
		},
		"self-signed secondary": {
			func(o *initramfs.Options) { o.Secondary = []initramfs.Input{der("s.der", other.issuer.Certificate)} }, initramfs.ErrRefused, "self-signed, and none of the CAs given",
		},
		"revoked by a secondary": {
			func(o *initramfs.Options) {
				o.Secondary = []initramfs.Input{der("s.der", second.issuer.Certificate)}
				o.Revoked = []initramfs.Input{der("r.der", second.signer("r"))}
			}, initramfs.ErrRefused, "r.der: ",
		},
		"trusted and revoked": {
			func(o *initramfs.Options) { o.Revoked = []initramfs.Input{der("r.der", leaf)} }, initramfs.ErrRefused, "r.der revokes its key id",
		},
		"policy with a refused line": {
			func(o *initramfs.Options) {
				o.Policy = &initramfs.Input{Name: "mine", Data: []byte("# x\nappraise func=WRONG\n")}
			}, initramfs.ErrRefused, "mine: the kernel would refuse it:\n  line 2: bad-value: ",
		},
		"policy that keeps the device from booting": {
			func(o *initramfs.Options) {
				o.Policy = &initramfs.Input{Name: "mine", Data: []byte("appraise func=FILE_CHECK mask=MAY_READ fowner=0 appraise_type=imasig\n")}
			}, initramfs.ErrUseless, "would not boot, or not be protected by it:\n  line 1: pseudo-fs: ",
		},
		"policy without rules": {
			func(o *initramfs.Options) { o.Policy = &initramfs.Input{Name: "mine", Data: []byte("# x\n")} }, initramfs.ErrRefused, "no-rules",
		},
		"dynamic busybox": {
			func(o *initramfs.Options) {
				o.Busybox = &initramfs.Input{Name: "busybox", Data: program(elf.ET_DYN, elf.PT_INTERP)}
			}, initramfs.ErrBusybox, "needs a dynamic loader",
		},
		"an object": {
			func(o *initramfs.Options) {
				o.Busybox = &initramfs.Input{Name: "busybox", Data: program(elf.ET_REL, elf.PT_LOAD)}
			}, initramfs.ErrBusybox, "does not execute ELF files of type ET_REL",
		},
		"a library": {
			func(o *initramfs.Options) {
				o.Busybox = &initramfs.Input{Name: "busybox", Data: program(elf.ET_DYN, elf.PT_LOAD)}
			}, initramfs.ErrBusybox, "no executable entry point",
		},
		"half of busybox": {
			func(o *initramfs.Options) { o.Busybox = whole(); o.Busybox.Data = o.Busybox.Data[:150] }, initramfs.ErrBusybox, "it is truncated",
		},
		"another program": {
			func(o *initramfs.Options) {
				o.Busybox = whole()
				o.Busybox.Data = bytes.Replace(o.Busybox.Data, []byte("BusyBox v"), []byte("AnyBox v."), 1)
			}, initramfs.ErrApplets, "neither busybox nor toybox",
		},
		"busybox without a shell": {
			func(o *initramfs.Options) { o.Busybox = busybox("mkdir", "mount") }, initramfs.ErrApplets, "no applet sh",
		},
		"busybox without mount": {
			func(o *initramfs.Options) { o.Busybox = busybox("mkdir", "sh", "umount") }, initramfs.ErrApplets, "no applet mount",
		},
		"busybox for another processor": {
			func(o *initramfs.Options) { o.Busybox, o.Kernel.Config = whole(), config(t, "X86_64") }, initramfs.ErrBusybox, "EM_AARCH64",
		},
		"no busybox": {func(o *initramfs.Options) { o.Busybox = nil }, initramfs.ErrNoShell, ""},
		"two shells": {func(o *initramfs.Options) { o.Busybox, o.ShellElsewhere = whole(), true }, initramfs.ErrOption, "another archive"},
		"labels": {
			func(o *initramfs.Options) {
				o.Policy = &initramfs.Input{Name: "mine", Data: []byte("dont_measure obj_type=a_t\ndont_measure obj_type=b_t\nmeasure uid=0\n")}
			}, initramfs.ErrRefused, "mine: the kernel would refuse it:\n  line 1: label: obj_type=: in the initramfs no security module has its policy yet",
		},
		"labels for dracut": {
			func(o *initramfs.Options) {
				o.Hook, o.Busybox = initramfs.Dracut, nil
				o.Policy = &initramfs.Input{Name: "mine", Data: []byte("dont_measure subj_type=a_t\nmeasure uid=0\n")}
			}, initramfs.ErrRefused, "line 1: label: ",
		},
		"a kernel for signed policies": {
			func(o *initramfs.Options) { o.Kernel.Config = config(t, "ARM64", "IMA_APPRAISE_REQUIRE_POLICY_SIGS") }, initramfs.ErrRefused, "required: ",
		},
		"a kernel without securityfs": {
			func(o *initramfs.Options) { o.Kernel.Config = config(t, "ARM64", "-SECURITYFS") }, initramfs.ErrRefused, "CONFIG_SECURITYFS is not set",
		},
		"a kernel without scripts": {
			func(o *initramfs.Options) { o.Kernel.Config = config(t, "ARM64", "-BINFMT_SCRIPT") }, initramfs.ErrRefused, "/init is a script",
		},
		"a kernel without ECDSA": {
			func(o *initramfs.Options) { o.Kernel.Config = config(t, "ARM64", "-CRYPTO_ECDSA") }, initramfs.ErrRefused, "leaf.crt: the kernel would refuse it:\n  ecdsa: ",
		},
		"a kernel without a blacklist": {
			func(o *initramfs.Options) {
				o.Kernel.Config, o.Revoked = config(t, "ARM64", "-IMA_BLACKLIST_KEYRING"), []initramfs.Input{der("r.der", a.signer("r"))}
			}, initramfs.ErrRefused, "CONFIG_IMA_BLACKLIST_KEYRING",
		},
		"a script": {
			func(o *initramfs.Options) { o.Busybox = &initramfs.Input{Name: "busybox", Data: []byte("#!/bin/sh\n")} }, initramfs.ErrBusybox, "not an ELF file",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := initramfs.Options{Hook: initramfs.Standalone, Certificates: []initramfs.Input{der("leaf.crt", leaf)}, CAs: a.list(), Busybox: whole()}
			c.change(&o)
			if _, err := initramfs.New(o); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %v: %q", err, c.is, c.says)
			}
		})
	}
}

// TestTaken: what looks like a refusal and is none.
func TestTaken(t *testing.T) {
	a := newAuthority(t)
	second := a.secondary("second")
	third := second.secondary("third")
	for name, o := range map[string]initramfs.Options{
		"issuer not known": {Certificates: []initramfs.Input{der("x", newAuthority(t).signer("x"))}},
		"chain":            {Certificates: []initramfs.Input{der("x", third.signer("x"))}, Secondary: []initramfs.Input{der("1", second.issuer.Certificate), der("2", third.issuer.Certificate)}, CAs: a.list()},
		"revoked CA":       {Certificates: []initramfs.Input{der("x", a.signer("x"))}, Revoked: []initramfs.Input{der("ca", second.issuer.Certificate)}, CAs: a.list()},
		"static-pie":       {Certificates: []initramfs.Input{der("x", a.signer("x"))}, Busybox: pie()},
		"labels, known":    {Certificates: []initramfs.Input{der("x", a.signer("x"))}, Policy: &initramfs.Input{Name: "mine", Data: []byte("measure obj_type=a_t\n")}, LabelsKnown: true},
		"no last newline":  {Certificates: []initramfs.Input{der("x", a.signer("x"))}, Policy: &initramfs.Input{Name: "mine", Data: []byte("measure uid=0")}},
		"whole kernel":     {Certificates: []initramfs.Input{der("x", a.signer("x"))}, Kernel: kernel.Profile{Config: config(t, "ARM64")}},
		"32 bits on 64":    {Certificates: []initramfs.Input{der("x", a.signer("x"))}, Kernel: kernel.Profile{Config: config(t, "ARM64", "COMPAT")}},
		"CA before 6.6":    {Certificates: []initramfs.Input{der("x", a.issuer.Certificate)}, Kernel: kernel.Profile{Version: kernel.Version{Major: 6, Minor: 1}}},
	} {
		o.Hook = initramfs.Standalone
		if o.Busybox == nil {
			o.Busybox = whole()
		}
		if _, err := initramfs.New(o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCompression(t *testing.T) {
	o := initramfs.Options{Kernel: kernel.Profile{Config: config(t, "ARM64")}}
	for c, taken := range map[compress.Format]bool{compress.None: true, compress.Gzip: true, compress.Zstd: false, compress.LZ4: false, compress.Bzip2: false, compress.XZ: false} {
		if err := o.CheckCompression(c); (err == nil) != taken || err != nil && !errors.Is(err, initramfs.ErrRefused) {
			t.Errorf("%s: %v", c, err)
		}
	}
}

// TestFindings: what the kernel takes and is worth knowing is not lost.
func TestFindings(t *testing.T) {
	a := newAuthority(t)
	b, err := initramfs.New(initramfs.Options{
		Hook: initramfs.Standalone, Certificates: []initramfs.Input{der("x.der", a.signer("x")), der("y.der", a.signer("y"))}, Kernel: kernel.Profile{Version: kernel.Version{Major: 6, Minor: 1}},
		Busybox: busybox("mkdir", "mount", "sh", "sleep"), Policy: &initramfs.Input{Name: "mine", Data: []byte("appraise func=BPRM_CHECK\n")},
	})
	check(t, err)
	var got []string
	for _, f := range b.Findings {
		got = append(got, fmt.Sprintf("%s:%d %s %s %v", f.File, f.Line, f.Severity, f.Rule, f.Files))
	}
	for _, want := range []string{
		"x.der:0 note ecdsa []", "x.der:0 note issuer [x.der y.der]", "y.der:0 warn keyctl []", "mine:1 warn digest []", "busybox:0 warn applets []",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}

func FuzzBusybox(f *testing.F) {
	f.Add(program(elf.ET_EXEC, elf.PT_LOAD))
	f.Add(whole().Data)
	f.Add(program(elf.ET_DYN, elf.PT_INTERP))
	leaf := newAuthority(f).signer("leaf")
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := initramfs.New(initramfs.Options{
			Hook: initramfs.Standalone, Certificates: []initramfs.Input{der("leaf", leaf)}, Busybox: &initramfs.Input{Name: "busybox", Data: data},
		})
		if err != nil && !errors.Is(err, initramfs.ErrBusybox) && !errors.Is(err, initramfs.ErrApplets) && !errors.Is(err, initramfs.ErrPrivateKey) {
			t.Error(err)
		}
		if err == nil && !slices.Contains(paths(b), "-rwxr-xr-x bin/busybox") {
			t.Error("it is not in the bundle")
		}
	})
}
