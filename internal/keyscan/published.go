package keyscan

import (
	"crypto/sha256"
	"encoding/hex"
)

// isPublished reports whether key, in PEM or DER as the program has it, is a test key from
// the published sources of a program. It is not a leak in a program. In a file of its own it
// is one, because somebody chose to use it.
func isPublished(key []byte) bool {
	sum := sha256.Sum256(key)
	switch hex.EncodeToString(sum[:]) {
	case // for "openssl speed": apps/testrsa.h of OpenSSL
		"25eec4ddd628fd5e72aa14ad2a894cb91272852bfcae48ac193656ba350f6e40",
		"32620d7d2ae52c11db7cc95e333e585c2552abe20da6bd5169c010fedfa4c73e",
		"bb6a6abd969e3ffb523c303fc951ee4ee56349d8f86f52d3386adae5cd4db004",
		"54da0df6070851127a23e00c2836e3dd2c6b3b78f650ce690442a0243fde31bd",
		"c069f7ebcd214901cd196cdfd4f785ffe3d646506217f790aee51576eef363de",
		"d5ad6f88cf914734f625ce2fb886c81e249e11a598554089f8bb4299d7ed681f",
		"171349923b709500bee59c838b58a8f8233feb55c62b6c660c31cf4ee284462f":
		return true
	case // for the self-tests of libgnutls
		"a4d138d7ef9748464117b44fb9c0a4b5b85a1599a127d02690abaa96d03c16e6",
		"fa0b06a72461ec0a963dcfccb8d5b61bd88a6074fc7271573bff68ab86b8c1af",
		"ef237ea8db4f2ae9ee100e8ced96d29b5dceb0e6a948443e6b8a00b1791f9ec9",
		"f8766749b0c6f9b5661364568226af0ba7ae8d87c0073df24e440de4417521cd",
		"293216817f0d585f0b54f225582f59e7b2e2a795b5f8002e2d71c5e3d49ce9b0",
		"a0b9679665e29ac220dfb0b366317e1b9dd5fe31e9def8b2e511669a041389ae",
		"934b3e9bfd9936c5e30c7f0ed7d36a05e2044f755c0aa433e1d6bef6a68d1391",
		"91ea1699ff6b1a34b4a1d500a9c75a808441e47b9ea68da6fb0195e01ce1dc61",
		"7c4c63ee462e0e700cd9e29c8e0f730b3f1b484c4abdd83f1e69fcd477c061fa",
		"d039c8119a029ab9f9c83c04d67002d887b6bc6026c4264402ab27cdf24cf138":
		return true
	case // for the benchmark of gnutls-cli
		"fd0521c2c1339568b5f8df1156ade46cc1af9aca529f2d929eead9cd67e37e9a",
		"4c2aecf7b5d6a8f7b0bbf59a4f7cc0ea0263fcb0b231ea3db531410b564d1c7c",
		"2ea9de3056e2f838e4b078f83dd7227809816f0b6540b7ac8fb9291eb63a8de8",
		"43eb5881ab1e22dc3d13740cc09badf2930fd3d1489ae0f4f32378b6fbd2b3bc":
		return true
	}
	return false
}
