package bitbake

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// signingService builds with a key that only a signing service has.
func (l *lab) signingService(t *testing.T) {
	s := newSigner(t, l)
	s.start(t)
	s.rotate(t)
	s.inRecipe(t, s.probe(t), func() {
		t.Run("network", s.network)
		t.Run("signs", s.signs)
		t.Run("nothing asked again", s.nothingAsked)
		t.Run("other identity and servers", func(t *testing.T) { s.nothingRuns(t, s.rotated("127.47.13.1:1,"+s.address)) })
		t.Run("down", s.down)
		t.Run("revoked", s.revoked)
		t.Run("log", func(t *testing.T) { s.provesAll(t, "rotated-requester") })
	})
}

// settings name the key, but not the requester.
func (s *signer) settings(servers, query string) string {
	return fmt.Sprintf("IMASIGN_KEY = \"https://%s/image?%s\"\nIMASIGN_KEY_PASS = \"\"\nIMASIGN_CERT = \"%s\"\nTEST_FSTYPES = \"tar\"\nIMASIGN_EXCLUDE = \"/tmp /%s\"\n",
		servers, query, s.path("requester/x509_ima.crt"), controlWord)
}

// credentials are the settings of a build in a unit of systemd with LoadCredential=. The first
// requester's files have the names of credentials.
func (s *signer) credentials() string {
	return s.settings(s.address, "identity=cred:identity.pem&ca=cred:ca.crt&log=cred:log.pub") + "IMASIGN_KEY_ENV = \"CREDENTIALS_DIRECTORY\"\n"
}

// rotated are the settings of the requester that rotate makes, for servers.
func (s *signer) rotated(servers string) string {
	dir := s.path("rotated-requester")
	return s.settings(servers, "identity="+dir+"/identity.pem&ca="+dir+"/ca.crt&log="+dir+"/log.pub")
}

// inUnit runs do with the environment of such a unit.
func (s *signer) inUnit(do func()) {
	s.env = []string{"CREDENTIALS_DIRECTORY=" + s.path("requester"), "BB_ENV_PASSTHROUGH_ADDITIONS=CREDENTIALS_DIRECTORY"}
	defer func() { s.env = nil }()
	do()
}

// probe is a part of a recipe. Before do_image signs, it notes which tasks have the network, and
// whether do_image reaches the service.
func (s *signer) probe(t *testing.T) string {
	t.Helper()
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`python probe() {
    import socket
    tasks = [task for task in d.getVar('__BBTASKS', False) if bb.utils.to_boolean(d.getVarFlag(task, 'network'))]
    try:
        socket.create_connection(('%s', %s), 60).close()
        reached = 'reached'
    except OSError as e:
        reached = 'not reached'
    bb.note('probe: %%s; with network: %%s' %% (reached, ' '.join(sorted(tasks))))
}
do_image[prefuncs] += "probe"
`, host, port)
}

// probed returns what the probe noted.
func (l *lab) probed(t *testing.T) (reached string, tasks []string) {
	t.Helper()
	logs, err := filepath.Glob(l.path("build/tmp/work/*/test-image/*/temp/log.do_image"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs of do_image: %v, %v", logs, err)
	}
	m := regexp.MustCompile(`probe: (.*); with network: (.*)`).FindStringSubmatch(read(t, logs[0]))
	if m == nil {
		t.Fatalf("%s has no line of the probe", logs[0])
	}
	return m[1], strings.Fields(m[2])
}

// network builds with a key in a file first. Only the key of the service gives the network to
// do_image.
func (s *signer) network(t *testing.T) {
	s.build(t, "TEST_FSTYPES = \"tar\"\n", "test-image")
	reached, before := s.probed(t)
	if reached != "not reached" || slices.Contains(before, "do_image") {
		t.Errorf("with a key in a file, the service is %s; these tasks have the network: %v", reached, before)
	}
	s.inUnit(func() { s.build(t, s.credentials(), "test-image") })
	reached, after := s.probed(t)
	more := slices.DeleteFunc(after, func(task string) bool { return slices.Contains(before, task) })
	if reached != "reached" || !slices.Equal(more, []string{"do_image"}) {
		t.Errorf("with the key of the service, it is %s; these tasks also have the network: %v", reached, more)
	}
}

// signs checks what the build of network made.
func (s *signer) signs(t *testing.T) {
	cert := s.path("requester/x509_ima.der")
	s.verifyTar(t, cert)
	s.verifyPackages(t, cert)
	claimed := map[string]bool{}
	var signatures int64
	for _, r := range s.records(t) {
		if r.Status != "granted" || r.Requester != "build" {
			t.Errorf("%s: %s %s", r.Requester, r.Status, r.Reason)
		}
		signatures += r.Signatures
		for _, c := range r.Claimed {
			claimed[c.Container+" "+c.Name+" "+c.Path] = true
		}
	}
	t.Logf("%d signatures, claimed for %v", signatures, claimed)
	if signatures < 22 { // the digests of the files: some files are equal
		t.Errorf("%d signatures in the log", signatures)
	}
	s.provesAll(t, "requester")
}

// provesAll checks that the log is whole, and has the signatures of the image and the packages.
// requester is a directory of the lab with an identity.
func (s *signer) provesAll(t *testing.T, requester string) {
	t.Helper()
	var r struct{ Logs []struct{ Status string } }
	s.audit(t, &r, "verify")
	if len(r.Logs) != 1 || r.Logs[0].Status != "ok" {
		t.Errorf("the log: %v", r)
	}
	signed := 0
	for _, value := range s.manifest(t) {
		if len(value) > 0 {
			signed++
		}
	}
	if n := s.proved(t, s.path(filepath.Join(images, image+".imasign.jsonl"))); n != signed || n < 25 {
		t.Errorf("%d signatures proved, the manifest has %d", n, signed)
	}
	receipts := read(t, s.path(filepath.Join(images, image+".imasign.receipts")))
	if !strings.Contains(receipts, `"proof":"c2sp.org/tlog-proof@v1`) {
		t.Errorf("the receipts of the image: %.200q", receipts)
	}
	packages, dir := filepath.Join(t.TempDir(), "packages.jsonl"), s.path(requester)
	key := fmt.Sprintf("https://%[1]s/image?identity=%[2]s/identity.pem&ca=%[2]s/ca.crt", s.address, dir)
	harness.Must(t, s.program(), "rpm", "sign", "--dry-run", "--manifest", packages, "--key", key, "--cert", dir+"/x509_ima.crt", s.path("build/tmp/deploy/rpm"))
	if n := s.proved(t, packages); n < 25 {
		t.Errorf("%d signatures of packages proved", n)
	}
}

// nothingAsked builds the image and its packages again.
func (s *signer) nothingAsked(t *testing.T) {
	before, manifest, packages := len(s.records(t)), s.manifest(t), s.packages(t)
	s.inUnit(func() {
		s.build(t, s.credentials(), "-c", "cleansstate", "test-image", "test-files")
		if r := s.build(t, s.credentials(), "test-image"); !r.ran("test-image:do_image") || !r.ran("test-files:do_package_write_rpm") {
			t.Errorf("not built again: %v", r.tasks)
		}
	})
	if after := len(s.records(t)); after != before {
		t.Errorf("%d requests", after-before)
	}
	if fmt.Sprint(s.manifest(t)) != fmt.Sprint(manifest) {
		t.Error("another manifest")
	}
	s.samePackages(t, packages)
}

// fails builds, and checks that the task fails and says all of this.
func (s *signer) fails(t *testing.T, settings, target, task string, says ...string) {
	t.Helper()
	r := s.bitbake(t, settings, target)
	if r.Code == 0 || !strings.Contains(r.Out, task) {
		t.Errorf("%s: exit %d:\n%s", task, r.Code, tail(r.Out))
	}
	for _, words := range says {
		if !strings.Contains(r.Out, words) {
			t.Errorf("%s: %q is not in\n%s", task, words, tail(r.Out))
		}
	}
}

// uncached needs new signatures.
const uncached = "IMASIGN_CACHE = \"none\"\nIMASIGN_HASH = \"sha384\"\n"

// down builds while no server listens.
func (s *signer) down(t *testing.T) {
	s.stop(t)
	says := []string{"https://" + s.address + "/image", s.address + ": ", "connection refused", "start the service"}
	s.fails(t, s.rotated(s.address)+uncached, "test-image", "do_image", says...)
	s.build(t, s.rotated(s.address), "-c", "cleansstate", "test-files")
	s.fails(t, s.rotated(s.address)+uncached, "test-files", "do_package_write_rpm", says...)
	s.start(t)
}

// revoked replaces the requester in the service.
func (s *signer) revoked(t *testing.T) {
	s.fails(t, s.rotated(s.address)+uncached, "test-files", "do_package_write_rpm", s.address+": refused (unknown-requester)")
	s.reload(t)
	s.inUnit(func() {
		s.fails(t, s.credentials()+uncached, "test-files", "do_package_write_rpm", s.address+": refused (unknown-requester)")
	})
	before := len(s.records(t))
	s.build(t, s.rotated(s.address)+uncached, "test-image")
	if after := len(s.records(t)); after < before+2 {
		t.Errorf("%d requests for packages and an image", after-before)
	}
	s.verifyTar(t, s.path("requester/x509_ima.der"))
	s.verifyPackages(t, s.path("requester/x509_ima.der"))
}
