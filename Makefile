# Everything needs only Go and the Linux kernel, but for: race (a C compiler), lint (golangci-lint).

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 1m
PREFIX   ?= /usr
LDFLAGS   = -s -w -X main.release=$(VERSION)

# Packages whose tests start real agents or make network namespaces.
E2E   = ./cmd/lab ./nat/netlab
UNITS = $(shell go list ./... | grep -v -E '/(cmd/lab|nat/netlab)$$')

.PHONY: build install test demo race sim fuzz e2e bench lint clean

# build: bin/warren (agent and command line) and bin/lab (demo and benchmark), static
build:
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/warren ./cmd/lab

# install: what build made, and the service, below PREFIX; DESTDIR is for packagers
install:
	install -D bin/warren $(DESTDIR)$(PREFIX)/bin/warren
	sed 's|/usr/bin/|$(PREFIX)/bin/|' packaging/systemd/warren.service | \
		install -D -m 0644 /dev/stdin $(DESTDIR)$(PREFIX)/lib/systemd/system/warren.service

# test: everything that proves the project, end-to-end tests in network namespaces included
test:
	go vet ./...
	go test ./...

# demo: a mesh of hosts behind different NATs on this machine, in network namespaces
demo: build
	bin/lab demo

# race: all but the end-to-end tests under the race detector
race:
	CGO_ENABLED=1 go test -race $(UNITS)

# sim: a thousand simulated nodes, and a partition that heals
sim:
	go test -count=1 -v ./mesh/sim

# fuzz: every fuzz target for FUZZTIME (1m)
fuzz:
	@set -e; for pkg in $(UNITS); do \
		for f in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$f"; \
			go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

# e2e: the end-to-end tests alone; where they cannot run they fail instead of being skipped
e2e:
	WARREN_E2E=required go test -count=1 $(E2E)

# bench: TCP through the mesh beside plain wireguard-go, and the time to join
bench: build
	bin/lab bench

# lint: golangci-lint with .golangci.yml
lint:
	golangci-lint run

# clean: remove what build made
clean:
	rm -rf bin
