# Building, `make demo` and `make lint` need only Go.
# `make test` also needs gcc, spin, QEMU and a kernel image, which `make setup` gets.

BIN        := bin/ringbus
DEMO_FLAGS ?=
MINUTES    ?= 60

# A checkout of another user's makes git, and with it go build, refuse.
VCS := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo auto || echo false)

.PHONY: help
help: ## say what the targets do
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: build
build: ## build bin/ringbus
	CGO_ENABLED=0 go build -trimpath -buildvcs=$(VCS) -o $(BIN) ./cmd/ringbus

.PHONY: demo
demo: build ## one publisher, three subscribers, two kills, and proof that nothing was lost
	$(BIN) demo $(DEMO_FLAGS)

.PHONY: setup
setup: ## get what the tests need: gcc, spin, QEMU, a kernel image, Go modules
	scripts/setup.sh

.PHONY: test
test: setup ## every check, about ten minutes on two cores
	scripts/test.sh

.PHONY: lint
lint: ## the rules: format, vet, staticcheck, floors, comments, links
	go test -count=1 ./internal/lint

.PHONY: bench
bench: ## measure, beside the core-to-core floor of the same run
	go run ./bench

.PHONY: soak
soak: ## tests and fuzzing again and again for MINUTES (60)
	scripts/soak.sh $(MINUTES)

.PHONY: models
models: ## check the models of the protocols with spin
	docs/models/check.sh

.PHONY: fuzz
fuzz: ## a short run of every fuzz target
	scripts/fuzz.sh 20

.PHONY: clean
clean: ## remove what was built
	rm -rf bin .cache
