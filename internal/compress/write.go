package compress

import (
	"context"
	"io"

	"github.com/dsnet/compress/bzip2"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

func writeGzip(_ context.Context, w io.Writer, jobs int) (io.WriteCloser, error) {
	z := pgzip.NewWriter(w)
	return z, z.SetConcurrency(1<<20, max(jobs, 2))
}

func writeZstd(_ context.Context, w io.Writer, jobs int) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(max(jobs, 2)))
}

func writeLZ4(_ context.Context, w io.Writer, jobs int) (io.WriteCloser, error) {
	z := lz4.NewWriter(w)
	return z, z.Apply(lz4.ConcurrencyOption(jobs), lz4.ChecksumOption(true))
}

func writeXZ(ctx context.Context, w io.Writer, jobs int) (io.WriteCloser, error) {
	return newChunks(ctx, w, 16<<20, jobs, encodeXZ), nil
}

func encodeXZ(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }

func writeBzip2(ctx context.Context, w io.Writer, jobs int) (io.WriteCloser, error) {
	return newChunks(ctx, w, 8*900_000, jobs, encodeBzip2), nil
}

func encodeBzip2(w io.Writer) (io.WriteCloser, error) {
	return bzip2.NewWriter(w, &bzip2.WriterConfig{Level: bzip2.BestCompression})
}

func kernelGzip(w io.Writer) (io.WriteCloser, error) {
	return gzip.NewWriterLevel(w, gzip.BestCompression)
}

func kernelZstd(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
}

func kernelXZ(w io.Writer) (io.WriteCloser, error) {
	return xz.WriterConfig{CheckSum: xz.CRC32}.NewWriter(w)
}

func kernelLZ4(w io.Writer) (io.WriteCloser, error) {
	z := lz4.NewWriter(w)
	return z, z.Apply(lz4.LegacyOption(true), lz4.ConcurrencyOption(1))
}
