# karat: the commands for people and CI jobs. Begin with `make demo`.
PREFIX ?= /usr/local
TEMPLATE ?= templates/debian-web.toml
# Test images and bases are kept here between runs.
export KARAT_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/karat
export PATH := $(PATH):/usr/sbin:/sbin:$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# `karat --version` names the commit. A source archive has none.
release bench soak: export KARAT_COMMIT := $(shell [ -e .git ] && git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null)

KARAT := $(or $(CARGO_TARGET_DIR),target)/release/karat

.PHONY: help demo test lint bench soak install dist setup setup-dev release scripts

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 10

demo: setup release ## Build the nginx image in a real guest and show its manifest
	@id=$$($(KARAT) build $(TEMPLATE)) && echo && $(KARAT) show "$$id"

# The tests of EC2 mostly wait, so more of them run at once. Guests of tests have one processor.
test: setup-dev scripts ## Run all tests: first those without guests, then bases, guests and builds, two at a time
	@status=0; \
	cargo test --locked --no-fail-fast --lib --bins --test house --test cli --test ssh --test store --test provision --test host --test disk --test disk_write || status=$$?; \
	cargo test --locked --no-fail-fast --test ec2 -- --test-threads=6 || status=$$?; \
	cargo test --locked --no-fail-fast --test bootstrap --test qemu --test ec2_guests --test build -- --test-threads=2 || status=$$?; \
	exit $$status

lint: setup-dev scripts ## Check style: rustfmt, clippy, shellcheck, and cargo-deny if it is installed
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check; \
	else echo 'cargo-deny is not installed: skipped licences and advisories'; fi

bench: ## Time karat: against Packer, ssh, the kernel and qemu-img, syft, dd and boto3
	@.ci/setup --bench
	@$(MAKE) --no-print-directory release
	@status=0; \
	cargo bench --locked --bench ssh || status=$$?; \
	cargo bench --locked --bench disk || status=$$?; \
	cargo bench --locked --bench rewrite || status=$$?; \
	cargo bench --locked --bench scan || status=$$?; \
	cargo bench --locked --bench database || status=$$?; \
	cargo bench --locked --bench store || status=$$?; \
	cargo bench --locked --bench ec2 || status=$$?; \
	benches/packer/run.py || status=$$?; \
	exit $$status

soak: setup-dev release ## Fuzz parsers, damage disks and databases, kill builds and uploads, build twice (ROUNDS=20, FUZZ=30 seconds each)
	tests/fuzz/run $(or $(FUZZ),30)
	KARAT_SOAK_ROUNDS=$(or $(ROUNDS),20)0 cargo test --locked --test disk damaged_disks -- --nocapture
	KARAT_SOAK_ROUNDS=$(or $(ROUNDS),20)0 cargo test --locked --lib damaged_ -- --nocapture
	KARAT_SOAK_ROUNDS=1 cargo test --locked --release --test cli hostile -- --nocapture
	KARAT_SOAK_ROUNDS=1 cargo test --locked --test ec2 publish_faults
	KARAT_SOAK_ROUNDS=1 cargo test --locked --test build -- --include-ignored --nocapture signals dnf
	cargo test --locked --test ec2_guests -- --ignored --nocapture
	KARAT_SOAK_MIB=400 cargo test --locked --release --test disk_write nights -- --nocapture
	tests/soak/run $(or $(ROUNDS),20) $(KARAT)

install: release ## Install the binary, man pages and shell completions under PREFIX (/usr/local)
	install -D -m 0755 $(KARAT) $(DESTDIR)$(PREFIX)/bin/karat
	mkdir -p $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	$(KARAT) man --output $(DESTDIR)$(PREFIX)/share/man/man1
	$(KARAT) completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/karat
	$(KARAT) completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_karat
	$(KARAT) completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/karat.fish

dist: release ## Package the binary for users: an archive and a Debian package in target/dist
	.ci/package $(KARAT) $(or $(CARGO_TARGET_DIR),target)/dist

setup: ## Install what is missing to compile karat and build images, on Debian or Ubuntu
	@.ci/setup

setup-dev: ## Install what is missing for the tests, too
	@.ci/setup --dev

release:
	cargo build --locked --release

scripts:
	@tests/provisioners/run
