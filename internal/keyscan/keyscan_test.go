package keyscan_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/imasign/imasign-build/internal/keyscan"
	"github.com/imasign/imasign-build/pkg/keystore/file"
	"github.com/imasign/imasign-build/tests/harness"
)

// made has scripts in which other programs write "out" from key.pem, rsa.pem and cert.pem.
var made = map[string]string{
	"PKCS #8":                "openssl pkey -in key.pem -out out",
	"PKCS #8 DER":            "openssl pkey -in key.pem -outform DER -out out",
	"PKCS #8 RSA DER":        "openssl pkcs8 -topk8 -nocrypt -in rsa.pem -outform DER -out out",
	"PKCS #1":                "openssl rsa -in rsa.pem -traditional -out out",
	"PKCS #1 DER":            "openssl rsa -in rsa.pem -traditional -outform DER -out out",
	"multi-prime DER":        "openssl genrsa -primes 3 -traditional 1024 | openssl rsa -traditional -outform DER -out out",
	"SEC 1":                  "openssl ec -in key.pem -out out",
	"SEC 1 DER":              "openssl ec -in key.pem -outform DER -out out",
	"SEC 1 DER, no public":   "openssl ec -in key.pem -outform DER -no_public -out out",
	"EC, explicit":           "openssl ec -in key.pem -param_enc explicit -outform DER -out out",
	"P-521 DER":              "openssl ecparam -name secp521r1 -genkey -noout -outform DER -out out",
	"Ed25519 DER":            "openssl genpkey -algorithm ed25519 -outform DER -out out",
	"Ed448 DER":              "openssl genpkey -algorithm ed448 -outform DER -out out",
	"X25519":                 "openssl genpkey -algorithm x25519 -out out",
	"RSA-PSS DER":            "openssl genpkey -algorithm rsa-pss -pkeyopt rsa_keygen_bits:1024 -outform DER -out out",
	"DSA DER":                "openssl gendsa dsa | openssl dsa -outform DER -out out",
	"DSA PKCS #8 DER":        "openssl gendsa dsa | openssl pkey -outform DER -out out",
	"PBES1":                  "openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in key.pem -passout pass:x -outform DER -out out",
	"PBES1 MD5":              "openssl pkcs8 -topk8 -v1 PBE-MD5-DES -provider legacy -provider default -in key.pem -passout pass:x -outform DER -out out",
	"PBES2":                  "openssl pkcs8 -topk8 -in key.pem -passout pass:x -outform DER -out out",
	"PBES2 PEM":              "openssl pkcs8 -topk8 -in key.pem -passout pass:x -out out",
	"scrypt":                 "openssl pkcs8 -topk8 -scrypt -in rsa.pem -passout pass:x -outform DER -out out",
	"legacy PEM":             "openssl rsa -aes128 -traditional -in rsa.pem -passout pass:x -out out",
	"PKCS #12":               "openssl pkcs12 -export -inkey key.pem -in cert.pem -passout pass:x -out out",
	"PKCS #12 PBES1":         "openssl pkcs12 -export -legacy -inkey key.pem -in cert.pem -passout pass:x -out out",
	"PKCS #12 in clear":      "openssl pkcs12 -export -keypbe NONE -certpbe NONE -nomac -inkey key.pem -in cert.pem -passout pass: -out out",
	"key beside certificate": "cat cert.pem key.pem > out",
	"key in front":           "cat key.pem cert.pem > out",
	"DER behind certificate": "openssl x509 -in cert.pem -outform DER > out; openssl pkey -in key.pem -outform DER >> out",
	"DER, bytes behind":      "openssl pkey -in key.pem -outform DER > out; printf 'more and more' >> out",
	"DER in a program":       "head -c 100001 /bin/sh > out; openssl pkey -in key.pem -outform DER >> out; head -c 100000 /bin/sh >> out",
	"PEM with CR LF":         "sed 's/$/\\r/' key.pem > out",
	"PEM, short lines":       "head -1 key.pem > out; grep -v -e ---- key.pem | fold -w 7 >> out; tail -1 key.pem >> out",
	"PEM, indented":          "printf 'tls:\\n  key: |\\n' > out; sed 's/^/      /' key.pem >> out",
	"PEM in one line":        "tr -d '\\n' < key.pem > out",
	"PEM in JSON":            "python3 -c 'import json; print(json.dumps({\"k\": open(\"key.pem\").read()}))' > out",
	"PEM in a C program":     "sed 's/^/\"/; s/$/\\\\n\"/' key.pem > out",
	"PEM in base64":          "base64 -w0 key.pem > out",
	"DER in base64":          "openssl pkcs8 -topk8 -nocrypt -in rsa.pem -outform DER | base64 -w0 > out",
	"EC DER in base64":       "openssl pkcs8 -topk8 -nocrypt -in key.pem -outform DER | base64 -w0 > out",
	"SEC 1 in base64":        "openssl ec -in key.pem -outform DER | base64 -w0 > out",
	"PKCS #1 in base64":      "openssl rsa -traditional -in rsa.pem -outform DER | base64 -w0 > out",
	"P-384 DER in base64":    "openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-384 -outform DER | base64 > out",
	"P-521 in base64":        "openssl ecparam -name secp521r1 -genkey -noout -outform DER | base64 > out",
	"Ed25519 DER in base64":  "openssl genpkey -algorithm ed25519 -outform DER | base64 > out",
	"PBES2 in base64":        "openssl pkcs8 -topk8 -in rsa.pem -passout pass:x -outform DER | base64 > out",
	"PBES1 in hexadecimal":   "openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in key.pem -passout pass:x -outform DER | od -An -v -tx1 | tr -d ' ' > out",
	"DER in hexadecimal":     "openssl pkey -in key.pem -outform DER | od -An -v -tx1 | tr -d ' ' > out",
	"PKCS #12 in base64":     "openssl pkcs12 -export -inkey key.pem -in cert.pem -passout pass:x | base64 > out",
	"PEM bundle in base64":   "{ echo x; cat cert.pem key.pem; } | base64 > out",
	"PEM in a comment":       "sed 's/^/# /' key.pem > out",
	"PEM in a URL":           "python3 -c 'import urllib.parse; print(urllib.parse.quote_plus(open(\"key.pem\").read()))' > out",
	"PEM in XML":             "printf '<k>' > out; sed 's/$/\\&#10;/' key.pem | tr -d '\\n' >> out",
	"PEM in JSON in JSON":    "python3 -c 'import json; print(json.dumps(json.dumps({\"k\": open(\"key.pem\").read()})))' > out",
	"PEM in a shell script":  "sed 's/$/\\\\/' key.pem > out",
	"PEM in UTF-16":          "iconv -t utf-16 key.pem > out",
	"JSON Web Key":           "printf '{\"crv\":\"P-256\",\"d\":\"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE\",\"kty\":\"EC\"}' > out",
	"JSON Web Key in a set":  "printf '{\"keys\": [{\"kty\": \"OKP\", \"crv\": \"Ed25519\",\\n \"d\": \"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}]}' > out",
	"WireGuard":              "printf '[Interface]\\nPrivateKey = ' > out; head -c 32 key.pem | base64 >> out",
	"WireGuard, OpenWrt":     "{ printf \"\\toption private_key '\"; head -c 32 key.pem | base64 | tr -d '\\n'; echo \"'\"; } > out",
	"PKCS #8 EC DER":         "openssl pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out out",
	"in a tar archive":       "tar cf out cert.pem key.pem",
	"in a cpio archive":      "ls cert.pem key.pem | cpio -o -H newc > out 2>/dev/null",
	"OpenSSH":                "ssh-keygen -q -t ed25519 -N '' -f out",
	"OpenSSH RSA":            "ssh-keygen -q -t rsa -b 1024 -N '' -f out",
	"OpenSSH, encrypted":     "ssh-keygen -q -t ecdsa -N secret -f out",
	"OpenSSH, no armor":      "ssh-keygen -q -t ecdsa -N '' -f k; grep -v -e ---- k | base64 -d > out",
	"PuTTY 3":                "puttygen old.pem -O private -o out --new-passphrase /dev/null",
	"PuTTY 2, encrypted":     "printf secret > p; puttygen old.pem -O private --ppk-param version=2 -o out --new-passphrase p",
	"SSH2":                   "puttygen old.pem -O private-sshcom -o out --new-passphrase /dev/null",
	"dropbear RSA":           "dropbearkey -t rsa -s 1024 -f out",
	"dropbear ECDSA":         "dropbearkey -t ecdsa -f out",
	"dropbear P-521":         "dropbearkey -t ecdsa -s 521 -f out",
	"dropbear Ed25519":       "dropbearkey -t ed25519 -f out",
	"OpenPGP":                "gpg --batch --yes -o out --export-secret-keys",
	"OpenPGP, armored":       "gpg --batch --yes -a -o out --export-secret-keys",
	"OpenPGP, subkeys":       "gpg --batch --yes -o out --export-secret-subkeys",
	"OpenPGP, public first":  "gpg --export > out; gpg --batch --export-secret-keys >> out",
	"gpg-agent":              "cat \"$(ls $GNUPGHOME/private-keys-v1.d/*.key | head -1)\" > out",
	"gpg-agent, canonical":   "printf '(11:private-key(3:ecc(5:curve7:Ed25519)(5:flags5:eddsa)(1:q1:x)(1:d1:x)))' > out",
	"TSS2":                   "sed 's/BEGIN PRIVATE/BEGIN TSS2 PRIVATE/; s/END PRIVATE/END TSS2 PRIVATE/' key.pem > out",
	"age":                    "echo '# public key\nAGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SG8HGD3' > out",
	"BIND":                   "printf 'Private-key-format: v1.3\\nAlgorithm: 13 (ECDSAP256SHA256)\\nPrivateKey: GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=\\n' > out",
	"minisign":               "printf 'untrusted comment: minisign encrypted secret key\\nRWRTY0IyrYWpAm8NeIo0NlvQBoEg2HjbyNBbO1Q4WnFVh8ziYtkAAAACAAAAAAAAAEAAAAAA\\n' > out",
}

// innocent has scripts that write files similar to keys.
var innocent = map[string]string{
	"beginning of OpenSSH":    "printf 'openssh-key-v1\\0\\0\\0\\0\\4none\\0\\0\\0\\4none\\0\\0\\0\\0\\0\\0\\0\\1\\0\\0\\0\\0a name of a file and more text' > out",
	"public JSON Web Key":     "printf '{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\",\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}]}' > out",
	"public key in base64":    "openssl pkey -in key.pem -pubout -outform DER | base64 > out; openssl x509 -in cert.pem -outform DER | base64 >> out; openssl pkey -in rsa.pem -pubout | base64 >> out",
	"manual of WireGuard":     "printf 'PrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\\nPublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\\n' > out",
	"certificate":             "cp cert.pem out",
	"certificate DER":         "openssl x509 -in cert.pem -outform DER -out out",
	"public key":              "openssl pkey -in rsa.pem -pubout -out out",
	"public key DER":          "openssl pkey -in rsa.pem -pubout -outform DER -out out",
	"PKCS #1 public DER":      "openssl rsa -in rsa.pem -RSAPublicKey_out -outform DER -out out",
	"request DER":             "openssl req -new -key key.pem -subj /CN=x -outform DER -out out",
	"CMS":                     "echo x | openssl cms -sign -signer cert.pem -inkey key.pem -outform DER -nodetach -keyid -out out",
	"PKCS #12, certificate":   "openssl pkcs12 -export -nokeys -in cert.pem -certpbe NONE -nomac -passout pass: -out out",
	"SSH public":              "ssh-keygen -q -t rsa -b 1024 -N '' -f k; mv k.pub out",
	"OpenPGP public":          "gpg --export > out",
	"OpenPGP, armored":        "gpg -a --export > out",
	"PuTTY public":            "puttygen old.pem -O public -o out",
	"dropbear public":         "dropbearkey -t rsa -s 1024 -f k > /dev/null; dropbearkey -y -f k | sed -n 's/^ssh-rsa \\([^ ]*\\).*/\\1/p' | base64 -d > out",
	"shadowed, of a card":     "printf '(20:shadowed-private-key(3:rsa(1:n1:x)))' > out",
	"lines of a program":      "printf '%s\\0' '-----BEGIN PRIVATE KEY-----' '-----BEGIN RSA PRIVATE KEY-----' '-----END PRIVATE KEY-----' 'PuTTY-User-Key-File-%u: ' 'openssh-key-v1' '---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----' 'AGE-SECRET-KEY-1' '11:private-key(' > out",
	"beginnings in a program": "printf '0.\\002\\001\\0000\\005\\006\\003+en\\004\\\"\\004 0.\\002\\001\\0000\\005\\006\\003+ep\\004\\\"\\004 0F\\002\\001\\0000\\005\\006\\003+eo\\004:\\0048 and so on, whatever stands there' > out",
	"documentation":           "printf -- '-----BEGIN PRIVATE KEY-----\\n...\\n-----END PRIVATE KEY-----\\n' > out",
	"zeros":                   "head -c 3000000 /dev/zero > out",
}

// scratch is a directory with keys and the home directory of gpg. TestMain removes it.
var scratch string

func TestMain(m *testing.M) {
	code := m.Run()
	if scratch != "" {
		cmd := exec.Command("gpgconf", "--kill", "all")
		cmd.Env = append(os.Environ(), "GNUPGHOME="+scratch+"/gpg")
		_ = cmd.Run() // the agent also ends with its directory
		_ = os.RemoveAll(scratch)
	}
	os.Exit(code)
}

// peers returns a function that runs a script and returns the file "out".
func peers(t *testing.T) func(script string) []byte {
	t.Helper()
	harness.Tool(t, "openssl")
	run := func(script string) []byte {
		t.Helper()
		cmd := exec.Command("sh", "-euc", "rm -f out k k.pub p; "+script)
		cmd.Dir, cmd.Env = scratch, append(os.Environ(), "GNUPGHOME="+scratch+"/gpg")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		data, err := os.ReadFile(filepath.Join(scratch, "out"))
		check(t, err)
		return data
	}
	if scratch == "" {
		var err error
		scratch, err = os.MkdirTemp("", "keyscan") // gpg-agent's socket needs a short path
		check(t, err)
		run("mkdir -m 700 gpg; gpg --batch --passphrase '' --quick-generate-key tester ed25519 sign never; touch out")
		run("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem; openssl genrsa -out rsa.pem 2048; openssl rsa -traditional -in rsa.pem -out old.pem; openssl req -x509 -new -key key.pem -subj /CN=x -out cert.pem; openssl dsaparam -out dsa 1024; touch out")
	}
	return run
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func scan(t testing.TB, s *keyscan.Scanner, data []byte) []keyscan.Finding {
	t.Helper()
	found, n, err := s.Scan(context.Background(), bytes.NewReader(data))
	check(t, err)
	if n != int64(len(data)) {
		t.Errorf("%d of %d bytes were read", n, len(data))
	}
	return found
}

func TestKeysOfEveryProgram(t *testing.T) {
	run := peers(t)
	s := keyscan.New()
	for name, script := range made {
		if found := scan(t, s, run(script)); len(found) != 1 {
			t.Errorf("%s: %+v", name, found)
		}
	}
	for name, script := range innocent {
		if found := scan(t, s, run(script)); len(found) != 0 {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

// TestKeyStoresOfJava checks key stores in testdata. keytool made them.
func TestKeyStoresOfJava(t *testing.T) {
	files, err := filepath.Glob("testdata/*.*")
	check(t, err)
	if len(files) < 6 {
		t.Fatalf("only %s", files)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		check(t, err)
		// Encrypted content may be a key.
		if got, want := len(scan(t, keyscan.New(), data)) > 0, strings.Contains(name, "key.") || name == "testdata/trust.pkcs12"; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestEveryPlace puts a key across each boundary between two reads.
func TestEveryPlace(t *testing.T) {
	run := peers(t)
	s := keyscan.New()
	for _, script := range []string{made["PKCS #8 DER"], made["PKCS #8"], made["PBES2"], made["dropbear ECDSA"]} {
		key := run(script)
		for _, at := range []int{0, 1, 1<<20 - 64<<10 - 20, 1<<20 - 64<<10 - 3, 1<<20 - 64<<10, 1<<20 - 100, 1<<20 - 1, 1 << 20, 1<<20 + 64<<10 - 1, 3<<20 + 5} {
			data := slices.Concat(bytes.Repeat([]byte{0xa5}, at), key, bytes.Repeat([]byte{0xa5}, 100))
			found, _, err := s.Scan(context.Background(), iotest.OneByteReader(bytes.NewReader(data[max(0, at-10):])))
			check(t, err)
			if len(found) != 1 {
				t.Errorf("at %d, byte by byte: %+v", at, found)
			}
			if found := scan(t, s, data); len(found) != 1 || found[0].Offset != int64(at) {
				t.Errorf("at %d: %+v", at, found)
			}
		}
	}
}

// TestOwnKeyInAnyEncoding checks the formats of other programs, and bare numbers.
func TestOwnKeyInAnyEncoding(t *testing.T) {
	run := peers(t)
	for _, name := range []string{"key.pem", "rsa.pem"} {
		private, _, err := file.Load(context.Background(), writeFile(t, run("cp "+name+" out")), nil)
		check(t, err)
		byKey := keyscan.New(keyscan.Own{Public: private.Public(), Private: private})
		byCertificate := keyscan.New(keyscan.Own{Public: private.Public()})
		for _, script := range []string{
			"openssl pkey -in KEY -out out", "openssl pkey -in KEY -outform DER -out out", "openssl pkey -traditional -in KEY -out out", "openssl pkey -traditional -in KEY -outform DER -out out",
			"openssl pkey -in KEY -outform DER > out; echo more >> out", "cat cert.pem KEY > out", "sed 's/^/  /' KEY > out", "tr -d '\\n' < KEY > out",
			"openssl pkey -in KEY -outform DER | base64 > out", "openssl pkey -traditional -in KEY -outform DER | base64 -w0 > out", "openssl pkey -in KEY -outform DER | od -An -v -tx1 | tr -d ' ' > out",
			"sed 's/^/# /' KEY > out", "python3 -c 'import json; print(json.dumps(json.dumps(open(\"KEY\").read())))' > out",
		} {
			data := run(strings.ReplaceAll(script, "KEY", name))
			for how, s := range map[string]*keyscan.Scanner{"key": byKey, "certificate": byCertificate} {
				if found := scan(t, s, data); len(found) != 1 || !found[0].Own {
					t.Errorf("%s by %s: %s: %+v", name, how, script, found)
				}
			}
		}
		text := run("openssl pkey -in " + name + " -noout -text > out")
		numbers := map[string][]byte{"as text": text}
		for i, number := range secretNumbers(t, run, name) {
			little := slices.Clone(number)
			slices.Reverse(little)
			numbers[name+string(rune('0'+i))+" raw"] = number
			numbers[name+string(rune('0'+i))+" little-endian"] = little
			numbers[name+string(rune('0'+i))+" hex"] = []byte(hex.EncodeToString(number))
			numbers[name+string(rune('0'+i))+" decimal"] = []byte(new(big.Int).SetBytes(number).String())
			for _, format := range []string{"% x", "% X", "%#x", "0x% x"} {
				numbers[name+string(rune('0'+i))+format] = fmt.Appendf(nil, format, number)
			}
			numbers[name+string(rune('0'+i))+" in C"] = []byte(strings.ReplaceAll(fmt.Sprintf("%# x", number), " ", ", "))
			numbers[name+string(rune('0'+i))+" HEX"] = []byte(strings.ToUpper(hex.EncodeToString(number)))
			for shift := range 3 {
				padded := append(bytes.Repeat([]byte{0x5a}, shift), number...)
				numbers[name+string(rune('0'+i))+" base64"+strings.Repeat("'", shift)] = []byte(base64.StdEncoding.EncodeToString(padded))
				numbers[name+string(rune('0'+i))+" base64url"+strings.Repeat("'", shift)] = []byte(base64.RawURLEncoding.EncodeToString(padded))
			}
		}
		for what, number := range numbers {
			if found := scan(t, byKey, slices.Concat([]byte("before "), number, []byte(" behind"))); len(found) == 0 || !found[0].Own {
				t.Errorf("%s is not noticed", what)
			}
		}
		other := scan(t, byKey, run("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out out"))
		if len(other) != 1 || other[0].Own {
			t.Errorf("another key: %+v", other)
		}
		if found := scan(t, byKey, run("openssl pkey -in "+name+" -pubout -outform DER > out; cat cert.pem >> out; openssl pkey -in "+name+" -pubout -text >> out")); len(found) != 0 {
			t.Errorf("the public key: %+v", found)
		}
	}
}

// TestLeadingZero checks a number with a leading zero, which only some encodings write. Every
// 256th key has one.
func TestLeadingZero(t *testing.T) {
	for {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		check(t, err)
		scalar, err := key.Bytes()
		check(t, err)
		if scalar[0] != 0 {
			continue
		}
		s := keyscan.New(keyscan.Own{Public: key.Public(), Private: key})
		for _, number := range [][]byte{scalar, bytes.TrimLeft(scalar, "\x00")} {
			little := slices.Clone(number)
			slices.Reverse(little)
			for _, data := range [][]byte{number, little, []byte(hex.EncodeToString(number))} {
				if found := scan(t, s, slices.Concat([]byte("before "), data, []byte(" behind"))); len(found) == 0 || !found[0].Own {
					t.Errorf("%q is not noticed", data)
				}
			}
		}
		return
	}
}

// secretNumbers returns d, p and q, or the scalar, as Python reads them from openssl's text.
func secretNumbers(t *testing.T, run func(string) []byte, name string) [][]byte {
	t.Helper()
	list := run("openssl pkey -in " + name + ` -noout -text | python3 -c '
import json, re, sys
text = sys.stdin.read()
names = ["privateExponent", "prime1", "prime2", "priv"]
found = [re.search(r"^%s:\n((?:    [0-9a-f:]+\n)+)" % n, text, re.M) for n in names]
print(json.dumps([re.sub(r"[^0-9a-f]", "", f.group(1)) for f in found if f]))' > out`)
	var texts []string
	check(t, json.Unmarshal(list, &texts))
	if len(texts) == 0 {
		t.Fatal("openssl shows no numbers")
	}
	var numbers [][]byte
	for _, text := range texts {
		number, err := hex.DecodeString(text)
		check(t, err)
		numbers = append(numbers, bytes.TrimLeft(number, "\x00"))
	}
	return numbers
}

func writeFile(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	check(t, os.WriteFile(path, data, 0o600))
	return path
}

// TestAnEncryptedCopyOfTheKeyFile checks that a copy is recognised without the passphrase.
func TestAnEncryptedCopyOfTheKeyFile(t *testing.T) {
	run := peers(t)
	locked := run("openssl pkcs8 -topk8 -in rsa.pem -passout pass:x -out out")
	private, encoded, err := file.Load(context.Background(), writeFile(t, locked), nil)
	check(t, err)
	if private != nil {
		t.Fatal("it was opened without its passphrase")
	}
	s := keyscan.New(keyscan.Own{Encoded: encoded})
	for _, data := range [][]byte{locked, encoded, slices.Concat([]byte("x"), encoded)} {
		if found := scan(t, s, data); len(found) != 1 || !found[0].Own {
			t.Errorf("%+v", found)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg"))
	f.Add([]byte("\x30\x80\x02\x01\x03\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"))
	f.Add([]byte("\x00\x00\x00\x07ssh-rsa\x00\x00\x00\x03\x01\x00\x01\xff\xff\xff\xff"))
	f.Add([]byte("\x30\x00\x02\x01\x00\x30\x03\x06\x01\x01"))
	f.Add([]byte("\x95\x00\x03\x04aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))
	files, err := filepath.Glob("testdata/*.*")
	check(f, err)
	for _, name := range files {
		data, err := os.ReadFile(name)
		check(f, err)
		f.Add(data)
	}
	s := keyscan.New()
	f.Fuzz(func(t *testing.T, data []byte) {
		found := scan(t, s, data)
		for _, one := range found {
			if one.Offset < 0 || one.Offset >= int64(len(data)) {
				t.Errorf("at %d of %d", one.Offset, len(data))
			}
		}
	})
}

// TestPublishedKeys checks that published test keys are not reported in a program. They are
// reported in a file of their own and as the signing key, and so is another key in a program.
func TestPublishedKeys(t *testing.T) {
	program, err := os.ReadFile("/usr/bin/openssl")
	check(t, err)
	list, err := filepath.Glob("/usr/lib/*/libgnutls.so.30")
	check(t, err)
	if len(list) == 0 {
		t.Fatal("libgnutls is missing: tests/deps.sh installs it")
	}
	library, err := os.ReadFile(list[0])
	check(t, err)
	client, err := os.ReadFile("/usr/bin/gnutls-cli")
	check(t, err)
	for name, content := range map[string][]byte{"openssl": program, "libgnutls": library, "gnutls-cli": client} {
		if found := scan(t, keyscan.New(), content); len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
	}
	begin := bytes.Index(library, []byte("-----BEGIN RSA PRIVATE KEY-----"))
	end := []byte("-----END RSA PRIVATE KEY-----\n")
	key := library[begin : begin+bytes.Index(library[begin:], end)+len(end)]
	if found := scan(t, keyscan.New(), key); len(found) != 1 {
		t.Errorf("the test key in a file of its own: %v", found)
	}
	parsed, _ := pem.Decode(key)
	private, err := x509.ParsePKCS1PrivateKey(parsed.Bytes)
	check(t, err)
	if found := scan(t, keyscan.New(keyscan.Own{Private: private, Public: private.Public()}), library); len(found) != 1 || !found[0].Own {
		t.Errorf("the test key as the signing key: %v", found)
	}
	other := bytes.Replace(key, []byte("\n"), []byte("\nAA"), 1)
	if found := scan(t, keyscan.New(), bytes.Join([][]byte{library, other}, nil)); len(found) != 1 {
		t.Errorf("another key behind a program: %v", found)
	}
}
