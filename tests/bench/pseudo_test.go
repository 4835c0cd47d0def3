package bench

import (
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// BenchmarkPseudo signs 10,000 small files under pseudo with both programs. Most of the
// time goes into messages to pseudo's server.
func BenchmarkPseudo(b *testing.B) {
	builder := harness.NewBuilder(b)
	builder.OK(builder.Run("imasign-build key init --algorithm p256 keys"))
	builder.OK(builder.Pseudo("for d in $(seq 100); do mkdir -p rootfs/$d; for f in $(seq 100); do echo $d $f > rootfs/$d/$f; done; done"))
	key := builder.Path("keys/x509_ima")
	sign := "imasign-build rootfs sign --progress=none --key " + key + ".key --cert " + key + ".crt rootfs"
	const strip = "imasign-build rootfs strip --progress=none rootfs"
	var ours, again, theirs float64
	for b.Loop() {
		ours += timed(func() { builder.OK(builder.Pseudo(sign)) })
		again += timed(func() { builder.OK(builder.Pseudo(sign)) })
		builder.OK(builder.Pseudo(strip))
		theirs += timed(func() { builder.OK(builder.Pseudo("evmctl ima_sign -r --key " + key + ".key rootfs > /dev/null 2>&1")) })
		builder.OK(builder.Pseudo("imasign-build rootfs verify --cert " + key + ".crt rootfs; " + strip))
	}
	b.ReportMetric(10_000*float64(b.N)/ours, "files/s")
	b.ReportMetric(10_000*float64(b.N)/again, "unchanged-files/s")
	b.ReportMetric(10_000*float64(b.N)/theirs, "evmctl-files/s")
	b.ReportMetric(theirs/ours, "times-evmctl")
	b.ReportMetric(0, "ns/op")
}
