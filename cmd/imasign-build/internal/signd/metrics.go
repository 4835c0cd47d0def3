package signd

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
)

// metrics are what monitoring learns.
type metrics struct {
	connectionErrors atomic.Int64
	logErrors        atomic.Int64
	lost             atomic.Int64
	logDown          atomic.Bool
	sync             histogram

	mu       sync.Mutex
	keys     map[string]*keyMeter
	refusals map[protocol.Code]int64
}

// keyMeter counts what one key does.
type keyMeter struct {
	signatures, batches, failures atomic.Int64
	down                          atomic.Bool
}

func (m *keyMeter) granted(signatures int) {
	m.signatures.Add(int64(signatures))
	m.batches.Add(1)
}

// syncBounds are the upper bounds in seconds of the classes of the log's sync times.
func syncBounds() []float64 {
	return []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10}
}

// histogram counts durations by class.
type histogram struct {
	mu      sync.Mutex
	classes []int64 // one for each of syncBounds, and one for all above
	sum     float64
}

func (h *histogram) add(seconds float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	bounds := syncBounds()
	if h.classes == nil {
		h.classes = make([]int64, len(bounds)+1)
	}
	i, _ := slices.BinarySearch(bounds, seconds)
	h.classes[i]++
	h.sum += seconds
}

func newMetrics() *metrics {
	return &metrics{keys: map[string]*keyMeter{}, refusals: map[protocol.Code]int64{}}
}

// key returns the counters of a key.
func (m *metrics) key(name string) *keyMeter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys[name] == nil {
		m.keys[name] = &keyMeter{}
	}
	return m.keys[name]
}

func (m *metrics) refused(code protocol.Code) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refusals[code]++
}

// synced notes how long a record took to reach the disk.
func (m *metrics) synced(took time.Duration, err error) {
	m.logDown.Store(err != nil)
	if err == nil {
		m.sync.add(took.Seconds())
	}
}

// codes are all reasons for refusals: a series that is always there is easier to watch.
func codes() []protocol.Code {
	return []protocol.Code{
		protocol.Draining, protocol.TooLarge, protocol.Malformed, protocol.BadSignature, protocol.UnknownRequester, protocol.WrongCertificate,
		protocol.WrongAudience, protocol.WrongTime, protocol.Replayed, protocol.UnknownKey, protocol.WrongForm, protocol.NoRule, protocol.Quota,
		protocol.NotInHeader, protocol.NotApproved, protocol.KeyFailed, protocol.Busy, protocol.LogFailed,
	}
}

// exposition writes metrics in the text format of Prometheus (version 0.0.4).
type exposition struct{ strings.Builder }

func (e *exposition) family(name, kind, help string) {
	e.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
}

// value writes one value. labels are names and values in turn.
func (e *exposition) value(name string, value float64, labels ...string) {
	var pairs []string
	for i := 0; i+1 < len(labels); i += 2 {
		escaped := strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(labels[i+1])
		pairs = append(pairs, labels[i]+`="`+escaped+`"`)
	}
	if pairs != nil {
		name += "{" + strings.Join(pairs, ",") + "}"
	}
	e.WriteString(name + " " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}

// exposition returns all metrics of the server.
func (s *Server) exposition() string {
	e := &exposition{}
	s.writeKeys(e)
	m := s.metrics
	m.mu.Lock()
	refusals := maps.Clone(m.refusals)
	m.mu.Unlock()
	e.family("imasign_refusals_total", "counter", "Requests that were refused.")
	for _, code := range codes() {
		e.value("imasign_refusals_total", float64(refusals[code]), "code", string(code))
	}
	m.sync.write(e, "imasign_log_sync_seconds", "Time until a record was on the disk.")
	for _, c := range []struct {
		name, kind, help string
		value            float64
	}{
		{"imasign_log_errors_total", "counter", "Records that could not be written.", float64(m.logErrors.Load())},
		{"imasign_answers_lost_total", "counter", "Signed batches whose client was gone.", float64(m.lost.Load())},
		{"imasign_connections", "gauge", "Open connections.", float64(s.conns.count())},
		{"imasign_connection_errors_total", "counter", "Connections that failed, such as handshakes.", float64(m.connectionErrors.Load())},
		{"imasign_request_ids", "gauge", "Ids of requests that are remembered.", float64(s.ids.count())},
		{"imasign_ready", "gauge", "1 if the server takes batches.", boolean(s.Unready() == "")},
	} {
		e.family(c.name, c.kind, c.help)
		e.value(c.name, c.value)
	}
	e.family("imasign_certificate_expiry_days", "gauge", "Days until a certificate expires.")
	for _, c := range s.certificates() {
		e.value("imasign_certificate_expiry_days", time.Until(c.expires).Hours()/24, "certificate", c.name)
	}
	return e.String()
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (s *Server) writeKeys(e *exposition) {
	names := slices.Sorted(maps.Keys(s.keys))
	for _, f := range []struct {
		name, kind, help string
		value            func(*Key) float64
	}{
		{"imasign_signatures_total", "counter", "Signatures that were made.", func(k *Key) float64 { return float64(k.meter.signatures.Load()) }},
		{"imasign_batches_total", "counter", "Requests that were granted.", func(k *Key) float64 { return float64(k.meter.batches.Load()) }},
		{"imasign_key_errors_total", "counter", "Failures of the key.", func(k *Key) float64 { return float64(k.meter.failures.Load()) }},
		{"imasign_key_up", "gauge", "1 if the key can sign.", func(k *Key) float64 { return boolean(!k.meter.down.Load()) }},
		{"imasign_queue_batches", "gauge", "Requests that wait or are signed.", func(k *Key) float64 { n, _ := k.queue.length(); return float64(n) }},
		{"imasign_queue_digests", "gauge", "Digests that wait.", func(k *Key) float64 { _, n := k.queue.length(); return float64(n) }},
	} {
		e.family(f.name, f.kind, f.help)
		for _, name := range names {
			e.value(f.name, f.value(s.keys[name]), "key", name)
		}
	}
}

func (h *histogram) write(e *exposition, name, help string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.family(name, "histogram", help)
	var sum int64
	for i, bound := range syncBounds() {
		if h.classes != nil {
			sum += h.classes[i]
		}
		e.value(name+"_bucket", float64(sum), "le", strconv.FormatFloat(bound, 'g', -1, 64))
	}
	if h.classes != nil {
		sum += h.classes[len(h.classes)-1]
	}
	e.value(name+"_bucket", float64(sum), "le", "+Inf")
	e.value(name+"_sum", h.sum)
	e.value(name+"_count", float64(sum))
}
