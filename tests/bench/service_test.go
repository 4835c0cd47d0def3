package bench

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// BenchmarkService signs with a key in a file, and with the same key in a signing service on
// this machine, in turns. Its figures are the rate of the service as a share of that of the key
// in the file, and the processor time of both processes that the service adds to 1,000
// signatures. The aims are 90% for RSA-2048 in batches of 256, and 80% for P-256 in batches of 1,024.
// Processor times are the least of all turns, so that other programs disturb them less. What is
// added is the small difference of two large figures, and with RSA-2048 contains that all signatures
// are verified twice: BenchmarkTransport of package signd measures it without signing.
func BenchmarkService(b *testing.B) {
	const turns = 12
	rows := []string{"| key | digests in a batch | key in a file | service | ratio | CPU that the service adds to 1,000 signatures | memory of the server |", "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"}
	for _, run := range []struct {
		algorithm   string
		size, count int
	}{{"rsa2048", 256, 2048}, {"p256", 256, 8192}, {"p256", 1024, 8192}} {
		b.Run(fmt.Sprintf("%s/%d", run.algorithm, run.size), func(b *testing.B) {
			s := newService(b, run.algorithm)
			local := side{key: s.open(b, s.file), cpu: func() float64 { return cpuOf(b, 0) }}
			service := side{key: s.open(b, s.uri), cpu: func() float64 { return cpuOf(b, 0) + s.cpu(b) }}
			(&side{key: service.key, cpu: local.cpu}).sign(b, run.size, run.count) // learns the size of requests
			for b.Loop() {
				for range turns {
					local.sign(b, run.size, run.count)
					service.sign(b, run.size, run.count)
				}
			}
			added, each := (service.least-local.least)*1e6, float64(turns*run.count*b.N)
			b.ReportMetric(each/local.wall, "local-signatures/s")
			b.ReportMetric(each/service.wall, "service-signatures/s")
			b.ReportMetric(100*local.wall/service.wall, "percent-of-local")
			b.ReportMetric(100*local.least/service.least, "percent-of-local-cpu")
			b.ReportMetric(added, "added-cpu-ms/1000")
			b.ReportMetric(float64(s.peak(b))/1e6, "server-MB")
			b.ReportMetric(0, "ns/op")
			rows = append(rows, fmt.Sprintf("| %s | %s | %s/s | %s/s | %.0f%% | %.1f ms | %d MB |", keyName(run.algorithm), thousands(run.size),
				thousands(int(each/local.wall)), thousands(int(each/service.wall)), 100*local.wall/service.wall, added, s.peak(b)/1e6))
		})
	}
	record(b, "service", rows)
}

// BenchmarkServiceMillion has a service sign a million digests. Its figures are the peak memory
// of the server after 100,000 and after all: the aim is that it does not grow.
func BenchmarkServiceMillion(b *testing.B) {
	s := newService(b, "p256")
	key := side{key: s.open(b, s.uri), cpu: func() float64 { return cpuOf(b, 0) + s.cpu(b) }}
	const part = 100_000
	var first int64
	for b.Loop() {
		for i := range 10 {
			key.sign(b, 1024, part)
			if i == 0 && first == 0 {
				first = s.peak(b)
			}
		}
	}
	b.ReportMetric(10*part*float64(b.N)/key.wall, "signatures/s")
	b.ReportMetric(float64(first)/1e6, "first-MB")
	b.ReportMetric(float64(s.peak(b))/1e6, "MB")
	b.ReportMetric(0, "ns/op")
	record(b, "million", []string{fmt.Sprintf("Peak memory of the server: %d MB after 100,000 digests, %d MB after 1,000,000.", first/1e6, s.peak(b)/1e6)})
}

// side is one of the keys that are compared, with what it took.
type side struct {
	key   *keystore.Key
	cpu   func() float64 // processor time until now, in seconds
	wall  float64        // seconds
	least float64        // processor time for a signature in the best turn, in seconds; 0 before
}

// turn measures what n signatures take.
func (s *side) turn(n int, run func()) {
	before := s.cpu()
	s.wall += timed(run)
	each := (s.cpu() - before) / float64(n)
	if s.least == 0 {
		s.least = math.Inf(1)
	}
	s.least = min(s.least, each)
}

// sign signs that many digests, in as many batches at a time as the key takes. Every signature
// is verified, and every digest has a claim.
func (s *side) sign(b *testing.B, size, count int) {
	b.Helper()
	digests, claims := newDigests(count)
	parallel := s.key.Parallelism
	if parallel == 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	starts := make(chan int, count)
	for at := 0; at < count; at += size {
		starts <- at
	}
	close(starts)
	s.turn(count, func() {
		var all sync.WaitGroup
		for range parallel {
			all.Go(func() {
				for at := range starts {
					end := min(at+size, count)
					_, err := ima.Sign(b.Context(), ima.WithClaims(s.key.Signer, claims[at:end]), s.key.Public, ima.ContentSignature(), ima.SHA256, digests[at:end])
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	})
	if b.Failed() {
		b.FailNow()
	}
}
