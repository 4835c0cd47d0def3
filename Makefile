# The commands for daily work; CONTRIBUTING.md explains them.

GO ?= go
LINT = $(GO) tool -modfile=tools/go.mod
FUZZTIME ?= 30s
BITBAKE_TESTS ?= TestBuild|TestParse|TestHostTools

VULNDB ?= https://vuln.go.dev

PREFIX ?= /usr/local
PROGRAM = $(DESTDIR)$(PREFIX)/bin/imasign-build
BASH_COMPLETION = $(DESTDIR)$(PREFIX)/share/bash-completion/completions/imasign-build
ZSH_COMPLETION = $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_imasign-build
UNITS = $(DESTDIR)$(PREFIX)/lib/systemd/system
TPM_DROP_IN = $(DESTDIR)$(PREFIX)/share/imasign-build/systemd/tpm.conf
FISH_COMPLETION = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/imasign-build.fish

# AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer for the tests of the C code,
# everything that they link, and the programs that they build. The sanitizers' libraries are
# static, because the tests set LD_PRELOAD. leaks.supp needs the symbols.
SANITIZE = GOFLAGS="$$GOFLAGS -asan '-ldflags=-s=0 -w=0'" LSAN_OPTIONS=suppressions=$(CURDIR)/tests/leaks.supp:print_suppressions=0 \
	CGO_CFLAGS="-g -O1 -Werror -fno-omit-frame-pointer -fsanitize=undefined -fno-sanitize-recover=undefined" \
	CGO_LDFLAGS="-fsanitize=undefined -static-libasan -static-libubsan" $(GO) test -count=1 -timeout 25m

.PHONY: all build install uninstall demo quick sanitize test kernel bitbake check nightly lint docs vuln bench bench-docs fuzz deps clean

all: build

build: ## bin/imasign-build
	$(GO) build -trimpath -o bin/imasign-build ./cmd/imasign-build

install: build ## the program, completions for bash, zsh and fish, and a systemd unit: make install [PREFIX=$$HOME/.local] [DESTDIR=…]
	install -D -m 0755 bin/imasign-build "$(PROGRAM)"
	bin/imasign-build completion bash >bin/completion && install -D -m 0644 bin/completion "$(BASH_COMPLETION)"
	bin/imasign-build completion zsh >bin/completion && install -D -m 0644 bin/completion "$(ZSH_COMPLETION)"
	bin/imasign-build completion fish >bin/completion && install -D -m 0644 bin/completion "$(FISH_COMPLETION)"
	rm bin/completion
	sed 's|^ExecStart=/usr/local/|ExecStart=$(PREFIX)/|' systemd/imasign-build.service >bin/unit && install -D -m 0644 bin/unit "$(UNITS)/imasign-build.service"
	rm bin/unit
	install -D -m 0644 systemd/tpm.conf "$(TPM_DROP_IN)"

uninstall: ## what make install installed, with the same PREFIX and DESTDIR
	rm -f "$(PROGRAM)" "$(BASH_COMPLETION)" "$(ZSH_COMPLETION)" "$(FISH_COMPLETION)" "$(UNITS)/imasign-build.service" "$(TPM_DROP_IN)"

demo: build ## the main job on real files, in under a minute
	./tests/demo.sh bin/imasign-build

# Without Examples: they cannot be skipped, and some of them need root.
quick: ## tests that need no root, no peers and no kernels, in under a minute
	$(GO) vet ./cmd/... ./internal/... ./pkg/...
	$(GO) test -short -run '^(Test|Fuzz)' ./cmd/... ./internal/... ./pkg/...

# With the race detector everything takes four times as long. Each test runs with it, unless
# nothing in the test runs in parallel or other tests of its package have the same goroutines.
# make nightly runs all tests with it.
#
# SERIAL_SCRIPTS are those in which each command does one thing after the other, and those
# whose commands run the same workers as other scripts; TestGolden* run an ordinary build.
# keys, reuse_containers, sign_cache and from_manifest make and encrypt large keys, or use
# SQLite a lot.
SERIAL_SCRIPTS = ^TestScripts$$/^(empty|errors.*|evm|from_manifest|given|image_simulate|initramfs|json|kernels|key_.*|keys.*|libcrypto|manifest_.*|policy|purpose|quiet|refusals|reuse_containers|scan|selection.*|sign_cache|version|version3)$$
SERIAL_COMMANDS = $(SERIAL_SCRIPTS)|^Test(Golden|GoldenTree)$$
# Tests of decoders and limits with large inputs, those of the cache that use SQLite a lot, and
# those that compare with Go's own arithmetic.
SERIAL_TESTS = ^FuzzDatabase$$|^Test(Eviction|ProcessesHealTogether|SameBytesAsGo|Poison|KilledProcesses|DisksThatAreFull|XZFiles|ZerosBehindEveryEnd|SparseFileOver4GiB|Bombs|HeaderBudget|RereadLimits|Mutants|ReuseOfALargeManifest|Mutations|AgainstTreeAndKernel|Indexes|IndexMisleads|InlineTruncation|FromArchives|WalkRefuses)$$
SERIAL_TESTED = ./internal/compress ./internal/libcrypto ./pkg/rootfs ./pkg/rpmsign ./pkg/signing ./cmd/imasign-build/internal/sigcache \
	./cmd/imasign-build/internal/image/erofs ./cmd/imasign-build/internal/image/ext4 \
	./cmd/imasign-build/internal/image/filesystem ./cmd/imasign-build/internal/image/squashfs
# What differs without cgo: cryptography, xattrs, and the keys that there are.
CGOLESS_COMMANDS = ^TestScripts$$/^(cache_share|closed|errors_devices|errors_keys|evm|image|key_.*|keys_v3|libcrypto|manifest|output|restore|rpm|sign_verify|tar|verity|version.*)$$|^Test(Golden|GoldenTree|Shells)$$|Preload|DescribeBuild|KeyDirectory

# By default a program with the race detector sleeps for a second when it ends.
#
# The linters include vet.
test: export GORACE = atexit_sleep_ms=10
test: deps kernel ## everything, against the real peers
	CGO_ENABLED=0 $(GO) test -run '$(CGOLESS_COMMANDS)' ./cmd/imasign-build
	CGO_ENABLED=0 $(GO) test ./internal/libcrypto ./internal/certs ./pkg/ima ./pkg/keystore/...
	$(GO) test -run '$(SERIAL_COMMANDS)' ./cmd/imasign-build
	$(GO) test -run '$(SERIAL_TESTS)' $(SERIAL_TESTED)
	$(GO) test -race -timeout 25m -skip '$(SERIAL_COMMANDS)|$(SERIAL_TESTS)' ./cmd/... ./internal/... ./pkg/...
	$(GO) test -race -timeout 25m -count=1 ./tests/...

# The skipped tests repeat the same C code with larger keys, slowly.
sanitize: deps ## the C in the program, under sanitizers
	$(SANITIZE) -skip '/(P-384|P-521|3072|4096)$$' ./internal/libc ./internal/libcrypto ./internal/cryptoki ./pkg/keystore/pkcs11

kernel: deps ## the kernels that tests/kernel boots, unless they are cached
	./tests/kernel/build.sh

# Not part of test, because the repository has no BitBake and OE-core. BITBAKE_DIR and OECORE_DIR
# are checkouts of the same release, for instance branches 2.18 and wrynose. WIC_DIR, a checkout
# of wic, and META_SECURITY_DIR allow two more steps.
bitbake: ## tests the layer with real BitBake and OE-core: make bitbake BITBAKE_DIR=… OECORE_DIR=…
	test -n "$(BITBAKE_DIR)" && test -n "$(OECORE_DIR)"
	./tests/deps.sh bitbake
	locale -a | grep -qix 'en_us.utf-\?8' || localedef -i en_US -f UTF-8 en_US.UTF-8
	BITBAKE_DIR="$(BITBAKE_DIR)" OECORE_DIR="$(OECORE_DIR)" WIC_DIR="$(WIC_DIR)" META_SECURITY_DIR="$(META_SECURITY_DIR)" \
		$(GO) test -timeout 90m -count=1 -v -run '$(BITBAKE_TESTS)' ./tests/bitbake

lint: ## linters, pinned in tools/go.mod
	$(LINT) golangci-lint run --allow-parallel-runners ./...
	$(GO) mod tidy -diff
	cd tests/translog && $(GO) mod tidy -diff && $(GO) vet .

docs: ## docs/cli.md, from the program's help
	UPDATE=1 $(GO) test -count=1 -run TestReference ./cmd/imasign-build

vuln: ## known vulnerabilities; offline with VULNDB=file:///a/copy/of/the/database
	$(LINT) govulncheck -db $(VULNDB) ./...

check: lint sanitize test ## what a change must pass

# Tests that take too long for every change. BitBake comes last, because it needs checkouts.
nightly: deps kernel ## long runs: make nightly BITBAKE_DIR=… OECORE_DIR=… [FUZZTIME=5m]
	IMASIGN_NIGHTLY=1 $(GO) test -race -timeout 60m -count=1 ./cmd/... ./internal/... ./pkg/... ./tests/...
	$(SANITIZE) -skip '^TestBuildsThatCannotBePreloaded$$' ./tests/pseudo
	$(SANITIZE) -run 'PKCS11|Token|PIN|Sessions|Authenticate|Imported' ./tests/keystore
	./tests/fuzz.sh $(FUZZTIME)
	./tests/fresh.sh make demo
	./tests/fresh.sh .ci/run
	./tests/fresh.sh make bitbake BITBAKE_DIR="$(BITBAKE_DIR)" OECORE_DIR="$(OECORE_DIR)" BITBAKE_TESTS=TestHostTools
	$(MAKE) bitbake

bench: deps ## against evmctl and openssl in one run, as ratios
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m -count=1 ./tests/bench
	$(GO) test -run '^$$' -bench AgainstOpenSSL -benchtime 1x -count=1 ./internal/libcrypto
	$(GO) test -run '^$$' -bench Million -benchtime 1x -count=1 ./cmd/imasign-build/internal/sigcache

bench-docs: deps ## the tables and the chart of docs/benchmarks.md; as root, in half an hour
	IMASIGN_BENCH_DOCS=1 $(GO) test -run '^$$' -bench '^Benchmark(Tree|Cache|Token|FiveHours|Growth|Service|ServiceMillion)$$' -benchtime 1x -timeout 120m -count=1 ./tests/bench

fuzz: ## every fuzz target for FUZZTIME
	./tests/fuzz.sh $(FUZZTIME)

deps: ## the peers that tests drive, from Debian (root installs what is missing)
	./tests/deps.sh

clean:
	rm -rf bin
