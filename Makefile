# Everything that is needed day by day; CONTRIBUTING.md says when.

GO ?= go
LINT = $(GO) tool -modfile=tools/go.mod
FUZZTIME ?= 30s

.PHONY: all build demo test check lint vuln bench fuzz deps clean

all: build

build: ## bin/imasign-build
	$(GO) build -trimpath -o bin/imasign-build ./cmd/imasign-build

demo: build ## the main job on real files, in under a minute
	./tests/demo.sh bin/imasign-build

test: deps ## everything, against the real peers
	$(GO) vet ./...
	$(GO) test -race -timeout 25m ./cmd/... ./internal/... ./pkg/...
	$(GO) test -race -timeout 25m -count=1 ./tests/...

lint: ## linters, pinned in tools/go.mod
	$(LINT) golangci-lint run ./...
	$(GO) mod tidy -diff

vuln: ## known vulnerabilities; needs https://vuln.go.dev
	$(LINT) govulncheck ./...

check: lint test ## what a change must pass

bench: deps ## against evmctl and openssl in one run, as ratios
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m -count=1 ./tests/bench

fuzz: ## every fuzz target for FUZZTIME
	./tests/fuzz.sh $(FUZZTIME)

deps: ## the peers that tests drive, from Debian (root installs what is missing)
	./tests/deps.sh

clean:
	rm -rf bin
