package remote

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestURIs(t *testing.T) {
	for uri, want := range map[string]*location{
		"https://s1:7443,s2/image?identity=/i": {servers: []string{"s1:7443", "s2:7443"}, key: "image", identity: "/i"},
		"HTTPS://[::1],S:1/a.b_c-2?identity=i%20j&ca=c&log=l&client-cert=x&client-key=env:Y&timeout=90s": {
			servers: []string{"[::1]:7443", "s:1"}, key: "a.b_c-2", identity: "i j", ca: "c", log: "l", clientCert: "x", clientKey: "env:Y", timeout: 90 * time.Second, patient: true,
		},
		"https://s1?identity=cred:i": {servers: []string{"s1:7443"}, identity: "cred:i"},
	} {
		if want.timeout == 0 {
			want.timeout = defaultTimeout
		}
		if got, err := parseURI(uri); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", uri, got, err)
		}
	}
}

func TestURIsThatAreRefused(t *testing.T) {
	for _, uri := range []string{
		"", "https:", "https:/s/k?identity=i", "http://s/k?identity=i", "https:///k?identity=i", "https://s,/k?identity=i", "https://s,s:7443/k?identity=i",
		"https://u:secret@s/k?identity=i", "https://s:0/k?identity=i", "https://s:x/k?identity=i", "https://s:70000/k?identity=i", "https://::1/k?identity=i",
		"https://s/k", "https://s/k?", "https://s/k?identity", "https://s/k?identity=", "https://s/k?identity=i&identity=j", "https://s/k?identity=i&secret=x",
		"https://s/k?identity=%zz", "https://s/k?identity=a%00b", "https://s/a/b?identity=i", "https://s/%00?identity=i", "https://s/.k?identity=i", "https://ü/k?identity=i", "https://s/%zz?identity=i",
		"https://s/k?identity=i&timeout=1", "https://s/k?identity=i&timeout=1ms", "https://s/k?identity=i&timeout=2h", "https://s/k#secret?identity=i",
		"https://" + strings.Repeat("s", 256) + "/k?identity=i", "https://s/" + strings.Repeat("k", 256) + "?identity=i", "https://s\n/k?identity=i",
		"https://a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q/k?identity=i",
	} {
		l, err := parseURI(uri)
		if l == nil && errors.Is(err, ErrURI) && !strings.Contains(err.Error(), "secret=") && !strings.Contains(err.Error(), "u:secret") {
			continue
		}
		t.Errorf("%s: got %+v, %v", uri, l, err)
	}
}

// FuzzURI checks that URIs that are accepted name what can be connected to.
func FuzzURI(f *testing.F) {
	f.Add("https://s1:7443,[::1]/image?identity=/i&ca=/c&timeout=5m")
	f.Add("https://s/b?identity=env:I&client-cert=c&client-key=fd:3&log=l")
	f.Fuzz(func(t *testing.T, uri string) {
		l, err := parseURI(uri)
		if err != nil {
			return
		}
		if len(l.servers) == 0 || l.identity == "" || strings.ContainsAny(l.String(), "\n\x00") {
			t.Errorf("%q: %+v", uri, l)
		}
		again, err := parseURI(l.String() + "?identity=i")
		if err != nil || again.key != l.key || !reflect.DeepEqual(again.servers, l.servers) {
			t.Errorf("%q: %s: %v", uri, l, err)
		}
	})
}
