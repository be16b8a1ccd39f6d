# The work of the house. `make` alone prints what there is.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Without gin's MessagePack, which no request of ours is in: the codec takes longer to build than all of our own code.
export GOFLAGS := $(shell go env GOFLAGS) -tags=nomsgpack

bin   := $(CURDIR)/bin
tools := $(bin)/tools
# The examples are modules of their own, as a third party's would be.
example_modules := $(patsubst %/go.mod,%,$(wildcard examples/*/go.mod))
# Seconds that each fuzz target runs.
FUZZTIME ?= 1s
BENCH ?= all
# What is measured: embedded, or production (PostgreSQL, RabbitMQ, Redis).
ENGINES ?= embedded

.PHONY: help
help: ## What can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## The programs into bin/, the plugins into bin/plugins/<name>/<version>/<name>
	@go build -o $(bin)/ ./cmd/pigeonry ./cmd/pigeonry-sandbox ./cmd/pigeonry-bench
	@for dir in plugins/*/; do [ ! -f "$$dir/main.go" ] || .tools/plugin.sh "$$dir" $(bin)/plugins || exit 1; done
	@for dir in $(example_modules); do .tools/plugin.sh "$$dir" $(bin)/examples/plugins || exit 1; done

.PHONY: run
run: build ## Try it: the gateway with the sandbox beside it, until Ctrl-C
	@.tools/run.sh

.PHONY: test
test: peers $(tools)/gotestsum ## Every test, race detector, peers, engines and short fuzzing included
	@go build -o $(bin)/ ./cmd/pigeonry-bench
	@.tools/test.sh $(bin)/pigeonry-bench $(tools)/gotestsum $(example_modules)
	@$(MAKE) fuzz

.PHONY: peers
peers: ## The foreign programs that tests talk to: installed on Debian as root, else named
	@.tools/peers.sh

.PHONY: engines
engines: ## PostgreSQL, RabbitMQ and Redis of your own, until Ctrl-C; prints how to use them
	@go build -o $(bin)/ ./cmd/pigeonry-bench
	@exec $(bin)/pigeonry-bench engines

.PHONY: fuzz
fuzz: ## Each fuzz target for FUZZTIME (1s)
	@.tools/fuzz.sh $(FUZZTIME)

.PHONY: bench
bench: build ## Measure: BENCH=all|limits|batch|single|rest|backlog|mixed|slow|rate|swap|scale|tables ENGINES=embedded|production
	@$(bin)/pigeonry-bench $(BENCH) -engines $(ENGINES) -json

.PHONY: chaos
chaos: build ## Break everything under load and judge: CHAOS="-mixed -messages 1000000 -seed 7"
	@$(bin)/pigeonry-bench chaos -engines production -source $(CURDIR) $(CHAOS)

.PHONY: cover
cover: ## Test coverage per function, and bin/cover.html
	@mkdir -p $(bin)
	@go test -short -coverpkg=./... -coverprofile=$(bin)/cover.out ./... >/dev/null
	@go tool cover -html=$(bin)/cover.out -o $(bin)/cover.html
	@go tool cover -func=$(bin)/cover.out

.PHONY: lint
lint: $(tools)/golangci-lint $(tools)/buf ## The rules of the house: .golangci.yml and buf lint
	@$(tools)/golangci-lint run ./...
	@for dir in $(example_modules); do (cd "$$dir" && $(tools)/golangci-lint run -c $(CURDIR)/.golangci.yml ./...) || exit 1; done
	@cd proto && $(tools)/buf lint

.PHONY: format
format: $(tools)/golangci-lint ## gofumpt and ordered imports, in place
	@$(tools)/golangci-lint fmt

.PHONY: generate
generate: $(tools)/buf $(tools)/protoc-gen-go $(tools)/protoc-gen-go-grpc $(tools)/oapi-codegen ## The Go code that comes from the contracts
	@cd proto && PATH="$(tools):$$PATH" buf generate
	@PATH="$(tools):$$PATH" go generate ./core/...

.PHONY: check-generated
check-generated: ## Fail if generated code is not what the contracts give
	@.tools/check-generated.sh

.PHONY: check-proto
check-proto: $(tools)/buf ## Fail if the plugin contract breaks its previous state
	@.tools/check-proto.sh $(tools)/buf

.PHONY: clean
clean: ## Remove bin/ and data/
	@rm -rf $(bin) data

# Tools are pinned in a module of their own and never installed globally.
$(tools)/%: .tools/go.mod
	@echo "building $* ..."
	@pkg=$$(sed -n 's|^\t\([^ ]*/$*\)$$|\1|p' .tools/go.mod) && [ -n "$$pkg" ] && cd .tools && GOBIN=$(tools) go install "$$pkg"
	@touch $@
