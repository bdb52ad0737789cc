# `make` lists the targets. PORT, DATA_DIR, KUBECONFIG, EXIT and DEVSTACK (processes or containers) are explained in
# docs/getting-started.md.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

MODULES  := . services/clusters services/syncsets services/reconciler cli
PACKAGES := $(MODULES:%=./%/...)
SERVICES := clusters syncsets reconciler
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BIN      := $(CURDIR)/bin

# Packages tested at the same time: each may bring up servers and compile with the race detector.
TEST_P       ?= 2
TEST_TIMEOUT ?= 20m

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: deps $(BIN)/devstack ## Show the system at work on a real Kubernetes API server; EXIT=1 ends after the last step, KUBECONFIG= takes your cluster
	@exec $(BIN)/devstack demo -end-with-parent

.PHONY: run
run: deps $(BIN)/devstack ## Run everything on this machine behind port 7070; PORT= moves it
	@exec $(BIN)/devstack run -end-with-parent

.PHONY: test
test: deps $(BIN)/devstack ## Run unit, integration and end-to-end tests on real servers, with the race detector
	$(BIN)/devstack share -- go test -race -count=1 -p $(TEST_P) -timeout $(TEST_TIMEOUT) $(PACKAGES)

.PHONY: test-containers
test-containers: ## Run the store, relay and end-to-end tests on Postgres and RabbitMQ in containers
	./test/containers.sh

.PHONY: bench
bench: deps ## Run the benchmarks of test/bench
	go test -run '^$$' -bench . -benchtime 1x -timeout 60m ./test/bench/...

.PHONY: mutate
mutate: ## Make the deciding code wrong in hundreds of ways; fails when its tests notice fewer than 90 % of them
	go run ./test/mutate -least 90 ./services/reconciler/internal/decide

.PHONY: lint
lint: $(BIN)/tools/.installed ## Check style, imports, formatting and the modules' files
	./tools/lint.sh $(MODULES)

.PHONY: vuln
vuln: $(BIN)/tools/.installed ## Look for known vulnerabilities; exits 3 when the database cannot be reached
	./tools/vuln.sh $(MODULES)

.PHONY: build
build: ## Compile the services and syncsetctl, static, into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN)/ $(SERVICES:%=./services/%/cmd/%) ./cli/cmd/syncsetctl

# Without the drivers of other databases: they are heavy.
GOOSE_TAGS := no_clickhouse no_duckdb no_libsql no_mssql no_mysql no_spanner no_sqlite3 no_turso no_vertica no_ydb

.PHONY: goose
goose: ## Put the plain goose command into bin/
	GOWORK=off GOBIN=$(BIN) go -C tools install -tags '$(GOOSE_TAGS)' github.com/pressly/goose/v3/cmd/goose

.PHONY: modules
modules:
	@echo $(MODULES)

.PHONY: deps
deps: ## Install Postgres, RabbitMQ and the tools of the README where that is possible, else say how
	@./tools/deps.sh

.PHONY: clean
clean: ## Delete what was built
	rm -rf bin

.PHONY: forget
forget: ## Delete the data of make run, with the keys of the stored kubeconfigs; DATA_DIR= as for make run
	@./tools/forget.sh "$(or $(DATA_DIR),.data)"

.PHONY: $(BIN)/devstack
$(BIN)/devstack:
	@[ -x $@ ] || echo "compiling devstack; the first time takes a few minutes"
	@go build -v -o $@ ./cmd/devstack 2>&1 | awk '/^#/ || /: / && !/^go: downloading/ {print; fflush(); next} \
		{n++} n % 100 == 0 {print "  " n " modules and packages"; fflush()}'

.PHONY: bin/devstack bin/tools
bin/devstack: $(BIN)/devstack
bin/tools: $(BIN)/tools/.installed

# The pinned tools: golangci-lint, gofumpt, govulncheck. The stamp comes last: what was interrupted is done again.
$(BIN)/tools/.installed: tools/go.mod tools/go.sum
	@mkdir -p $(@D)
	GOWORK=off GOBIN=$(@D) go -C tools install github.com/golangci/golangci-lint/v2/cmd/golangci-lint mvdan.cc/gofumpt \
		golang.org/x/vuln/cmd/govulncheck
	@touch $@
