# What people run. The test command of the README is "make test".

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
GO ?= go
export CGO_ENABLED ?= 0

.PHONY: run build test check lint race e2e fuzz bench clean

run: ## start a registry on localhost:5100
	$(GO) run ./cmd/berth serve

build: ## one static binary in bin/
	$(GO) build -trimpath -ldflags "-s -w" -o bin/berth ./cmd/berth

test: ## everything: tools, lint, race, stories, conformance, crashes, fuzz
	scripts/test-tools
	$(MAKE) lint
	$(MAKE) race
	$(MAKE) e2e
	$(MAKE) fuzz FUZZTIME=5s

check: lint race ## format, vet, staticcheck and the tests of the packages, with the race detector

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	@test -x bin/tools/staticcheck || GOBIN=$(CURDIR)/bin/tools $(GO) install honnef.co/go/tools/cmd/staticcheck@v0.8.2
	bin/tools/staticcheck ./...

race:
	CGO_ENABLED=1 $(GO) test -race -timeout 300s $$($(GO) list ./... | grep -v -e /conformance$$ -e '/berth$$' -e /bench$$ -e /console$$) . ./cmd/berth -skip 'TestStories|TestKill|TestPowerCut|TestTerraform|TestCrashStates|TestEveryCallFails|TestMany'

e2e:
	$(GO) test -timeout 900s -v -run 'TestStories|TestKill|TestPowerCut|TestTerraform' . 2>&1 | scripts/brief
	$(GO) test -timeout 300s -v -run 'TestCrashStates|TestEveryCallFails' ./registry 2>&1 | scripts/brief
	mkdir -p artefacts
	$(GO) test -timeout 600s -v -artifacts -outputdir $(CURDIR)/artefacts ./console 2>&1 | scripts/brief
	$(GO) test -timeout 300s ./oci/conformance
	$(GO) test -timeout 300s -v -run TestEvaluatorsAgree ./identity/policy
	$(GO) test -timeout 300s -v -run TestMany ./bus

FUZZTIME ?= 60s
fuzz: ## every fuzz target for FUZZTIME
	scripts/fuzz $(FUZZTIME)

bench: ## Berth beside its peers, as ratios
	$(GO) run ./bench -charts docs/performance

clean:
	rm -rf bin artefacts
