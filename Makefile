# Postern's verbs. Two of them do everything on a fresh machine with Rust: `make run` and `make test`.
#
#   make            build in release mode; every program under its Postfix name in target/stage/{libexec,bin}
#   make run        build, start a whole instance in target/instance, send real mail through it, show what happened
#   make test       fetch the peers, run unit, conformance and integration tests, on programs that check themselves
#   make check      formatting, lints, documentation; tables without optional types and fuzz targets compile
#   make bench      Postfix and Postern side by side
#   make fuzz       run each fuzz target for a short while (needs cargo-fuzz and a nightly compiler)
#   make deb        the Debian package of what is built, in target/deb; needs no rights
#   make install    install what is built; make uninstall takes it away again: see below
#
# Types of tables can be left out: the line of `lookup` in Cargo.toml names those that are built in.
#
# `make test` builds for itself, into target/test-stage: the programs as the tests are compiled, so that all is compiled
# once, with the checks of arithmetic and the assertions that a release leaves out. `make test PROFILE=release` tests what
# is installed.
#
# PROFILE=dist links each program as one piece: it takes minutes longer, and saves 2 to 6 % of the processor time. What is
# measured is built so.

CARGO  ?= cargo
PROFILE = release
TARGET  = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
STAGE   = target/stage
# Where cargo leaves what it builds by a profile.
BUILT   = $(TARGET)/$(patsubst dev,debug,$(PROFILE))

# The list of programs, and what is done with each, is the file `programs`.
DAEMONS  := $(shell awk '$$2 == "daemon"  { print $$1 }' programs)
COMMANDS := $(shell awk '$$2 == "command" { print $$1 }' programs)
EXAMPLES := $(shell awk '$$2 == "example" { print $$1 }' programs)
# Those that are names of one executable, that of multicall.
SHARED   := $(shell awk '$$4 == "shared" && $$2 != "face" { print $$1 }' programs)
# Other names of programs, as NAME=PROGRAM: they lie beside the program.
FACES    := $(shell awk '$$2 == "face"    { print $$1 "=" $$3 }' programs)

# What `make install` and `make uninstall` take from the command line; install.sh has the defaults. They install what is
# built, stripped, and need no cargo: make && sudo make install
#
#   make install                        beside an installed Postfix, or without one: everything in folders of its own
#                                       ($(PREFIX)/libexec/postern and so on), nothing on anybody's PATH
#   make install REPLACE_POSTFIX=yes    in Postfix's place: Postern's programs get the names, owners and modes of Postfix's,
#                                       which stay beside them as PROGRAM.distrib (dpkg-divert)
#   make install REPLACE_POSTFIX=yes PROGRAMS=smtpd   some of them (the names are those of the file `programs`)
#   make uninstall [REPLACE_POSTFIX=yes]   takes it back
SETTINGS = DESTDIR PREFIX DAEMON_DIRECTORY COMMAND_DIRECTORY CONFIG_DIRECTORY MAN_DIRECTORY UNIT_DIRECTORY \
           QUEUE_DIRECTORY DATA_DIRECTORY MAIL_OWNER SETGID_GROUP REPLACE_POSTFIX PROGRAMS REGISTER LINK_POSTFIX_DAEMONS STAGE

.PHONY: all stage run test check bench fuzz deb install uninstall clean

all: stage

stage:
	$(CARGO) build --profile $(PROFILE) --workspace --exclude lookup --bins
	@mkdir -p $(STAGE)/libexec $(STAGE)/bin $(STAGE)/examples
	@place() { file=$$p; case " $(SHARED) " in *" $$p "*) file=postern-programs;; esac; \
		ln -f $(BUILT)/$$file $(STAGE)/$$1/$$p 2>/dev/null || cp -f $(BUILT)/$$file $(STAGE)/$$1/$$p || exit 1; }; \
	for p in $(DAEMONS);  do place libexec; done; \
	for p in $(COMMANDS); do place bin; done; \
	for p in $(EXAMPLES); do place examples; done
	@for p in $(FACES);    do test -e $(STAGE)/bin/$${p#*=} && folder=bin || folder=libexec; ln -sf $${p#*=} $(STAGE)/$$folder/$${p%=*}; done
	@echo "built: daemons in $(STAGE)/libexec, commands in $(STAGE)/bin"

run: stage
	@$(STAGE)/examples/example-demo --stage $(STAGE) --home target/instance

test: PROFILE = dev
test: STAGE = target/test-stage
test: stage
	@POSTERN_STAGE='$(CURDIR)/$(STAGE)' tests/run

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test -q -p lookup --lib --no-default-features
	$(CARGO) clippy --manifest-path fuzz/Cargo.toml --target-dir $(TARGET) --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

bench: PROFILE = dist
bench: stage
	@bench/run

fuzz:
	@fuzz/run

deb:
	@STAGE='$(STAGE)' packaging/deb

install uninstall:
	@$(foreach name,$(SETTINGS),$(if $($(name)),$(name)='$($(name))')) ./install.sh $@

clean:
	$(CARGO) clean
