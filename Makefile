# Postern's verbs. Two of them do everything on a fresh machine with Rust: `make run` and `make test`.
#
#   make            build in release mode; every program under its Postfix name in target/stage/{libexec,bin}
#   make run        build, start a whole instance in target/instance, send real mail through it, show what happened
#   make test       fetch the peers, run unit, conformance and integration tests
#   make check      formatting, lints, documentation
#   make bench      Postfix and Postern side by side
#   make fuzz       run each fuzz target for a short while (needs cargo-fuzz and a nightly compiler)
#   make install    see below
#
# PROFILE=dist links each program as one piece: it takes minutes longer, and saves 2 to 6 % of the processor time. What is
# measured is built so.

CARGO  ?= cargo
PROFILE = release
TARGET  = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
STAGE   = target/stage

DAEMONS  = master smtpd cleanup trivial-rewrite anvil showq postlogd pickup proxymap tlsmgr verify flush
COMMANDS = postfix postmap postalias postconf postcat postqueue postsuper postlog postkick postwhy sendmail postdrop
EXAMPLES = example-filter example-demo
# sendmail's other faces.
FACES    = mailq newaliases

# Where `make install` puts things. The defaults keep clear of an installed Postfix: nothing lands on anybody's PATH.
# To put Postern in Postfix's place, name its folders and say so:
#   make install DAEMON_DIRECTORY=/usr/lib/postfix/sbin COMMAND_DIRECTORY=/usr/sbin REPLACE_POSTFIX=yes
DESTDIR           =
PREFIX            = /usr/local
DAEMON_DIRECTORY  = $(PREFIX)/libexec/postern
COMMAND_DIRECTORY = $(PREFIX)/libexec/postern/bin
CONFIG_DIRECTORY  = $(PREFIX)/etc/postern
MAN_DIRECTORY     = $(PREFIX)/share/postern/man
REPLACE_POSTFIX   = no

.PHONY: all stage run test check bench fuzz install clean

all: stage

stage:
	$(CARGO) build --profile $(PROFILE) --workspace --bins
	@mkdir -p $(STAGE)/libexec $(STAGE)/bin $(STAGE)/examples
	@for p in $(DAEMONS);  do ln -f $(TARGET)/$(PROFILE)/$$p $(STAGE)/libexec/$$p 2>/dev/null || cp -f $(TARGET)/$(PROFILE)/$$p $(STAGE)/libexec/$$p || exit 1; done
	@for p in $(COMMANDS); do ln -f $(TARGET)/$(PROFILE)/$$p $(STAGE)/bin/$$p 2>/dev/null || cp -f $(TARGET)/$(PROFILE)/$$p $(STAGE)/bin/$$p || exit 1; done
	@for p in $(EXAMPLES); do ln -f $(TARGET)/$(PROFILE)/$$p $(STAGE)/examples/$$p 2>/dev/null || cp -f $(TARGET)/$(PROFILE)/$$p $(STAGE)/examples/$$p || exit 1; done
	@for p in $(FACES);    do ln -sf sendmail $(STAGE)/bin/$$p; done
	@echo "built: daemons in $(STAGE)/libexec, commands in $(STAGE)/bin"

run: stage
	@$(STAGE)/examples/example-demo --stage $(STAGE) --home target/instance

test: stage
	@tests/run

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

bench: PROFILE = dist
bench: stage
	@bench/run

fuzz:
	@fuzz/run

install: stage
	@if [ "$(REPLACE_POSTFIX)" != yes ]; then \
	    for f in $(DESTDIR)$(DAEMON_DIRECTORY)/master $(DESTDIR)$(COMMAND_DIRECTORY)/postfix; do \
	        if [ -e "$$f" ] && [ ! -e "$(DESTDIR)$(DAEMON_DIRECTORY)/.postern" ]; then \
	            echo "install: $$f is there and not Postern's; to replace an installed Postfix say REPLACE_POSTFIX=yes" >&2; \
	            exit 1; \
	        fi; \
	    done; \
	fi
	install -d $(DESTDIR)$(DAEMON_DIRECTORY) $(DESTDIR)$(COMMAND_DIRECTORY) $(DESTDIR)$(CONFIG_DIRECTORY)
	install -m 755 $(DAEMONS:%=$(STAGE)/libexec/%) $(DESTDIR)$(DAEMON_DIRECTORY)
	install -m 755 $(COMMANDS:%=$(STAGE)/bin/%) $(DESTDIR)$(COMMAND_DIRECTORY)
	for p in $(FACES); do ln -sf sendmail $(DESTDIR)$(COMMAND_DIRECTORY)/$$p; done
	for f in etc/*; do \
	    if [ -e $(DESTDIR)$(CONFIG_DIRECTORY)/$${f#etc/} ]; then \
	        install -m 644 $$f $(DESTDIR)$(CONFIG_DIRECTORY)/$${f#etc/}.new; \
	    else \
	        install -m 644 $$f $(DESTDIR)$(CONFIG_DIRECTORY)/$${f#etc/}; \
	    fi; \
	done
	for f in man/*.[158]; do \
	    install -d $(DESTDIR)$(MAN_DIRECTORY)/man$${f##*.} && install -m 644 $$f $(DESTDIR)$(MAN_DIRECTORY)/man$${f##*.}; \
	done
	touch $(DESTDIR)$(DAEMON_DIRECTORY)/.postern

clean:
	$(CARGO) clean
