# SPDX-License-Identifier: MIT
# uvmtools: "make help" lists the targets, "make V=1" shows the commands.

VERSION  := 0.1.0
BUILD    ?= build
PREFIX   ?= /usr/local
DESTDIR  ?=
PKGS     := popt jansson smartcols ncursesw liblz4 libzstd zlib libxxhash libsodium libcap-ng libseccomp

ifeq ($(origin CC),default)
CC := gcc
endif
AR      ?= ar
OBJCOPY ?= objcopy
INSTALL ?= install
MACHINE := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)) $(shell uname -m))

# Asked only when something is compiled, and once: on a fresh machine "make deps" has to work before pkg-config is there.
once = $(eval $(1) := $(2))$($(1))
need_packages = $(if $(shell pkg-config --exists $(PKGS) && echo yes),,$(error libraries are missing: run "make deps"))
PKG_CFLAGS = $(call once,PKG_CFLAGS,$(need_packages)$(shell pkg-config --cflags $(filter-out ncursesw,$(PKGS))))
PKG_LIBS   = $(call once,PKG_LIBS,$(shell pkg-config --libs $(PKGS)))
CMOCKA     = $(call once,CMOCKA,$(if $(shell pkg-config --exists cmocka && echo yes),,$(error cmocka is missing: run "make deps"))$(shell pkg-config --libs cmocka))

# What the caller says in CPPFLAGS, CFLAGS and LDFLAGS comes last, and so wins. The same sources give the same bytes in whatever directory they lie.
CFLAGS   ?= -O2 -g
ALL_FLAGS := -std=gnu17 -D_GNU_SOURCE -DUVM_VERSION='"$(VERSION)"' -Ilibcommon -Ilibuvm -pthread \
	-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef \
	-fPIE -fstack-protector-strong -ffile-prefix-map=$(CURDIR)=.
LINK_FLAGS := -pie -pthread -Wl,-z,relro,-z,now -Wl,--as-needed $(LDFLAGS)

ifeq ($(MACHINE),x86_64)
ALL_FLAGS += -fstack-clash-protection -fcf-protection
endif
ifeq ($(WERROR),1)
ALL_FLAGS += -Werror
endif
ifeq ($(SAN),1)
SAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
ALL_FLAGS += $(SAN_FLAGS)
LINK_FLAGS += $(SAN_FLAGS)
# Instrumented for libFuzzer, which comes with clang and brings main().
ifeq ($(FUZZ),1)
ALL_FLAGS += -fsanitize=fuzzer-no-link
endif
else ifeq ($(TSAN),1)
ALL_FLAGS += -fsanitize=thread
LINK_FLAGS += -fsanitize=thread
else ifeq ($(findstring _FORTIFY_SOURCE,$(CPPFLAGS) $(CFLAGS)),)
ALL_FLAGS += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif
ALL_FLAGS += $(CPPFLAGS) $(CFLAGS)

ifneq ($(V),1)
Q := @
say = @printf '  %-4s %s\n' $(1) $(2)
endif

OTHER_MACHINES := $(filter-out %$(MACHINE).c,$(wildcard libcommon/inject/arch/*.c))
SPACE_PARTS    := $(wildcard $(foreach room,graph space cache,libuvm/$(room)/*.c))
LIB_SOURCES    := $(filter-out $(OTHER_MACHINES),$(wildcard libcommon/*/*.c libcommon/inject/arch/*.c)) $(wildcard libuvm/ring/*.c) $(SPACE_PARTS)
TOOLS          := $(sort $(patsubst cmd/%/,%,$(dir $(wildcard cmd/*/*.c))))

LIB        := $(BUILD)/libcommon.a
LIB_OBJS   := $(LIB_SOURCES:%.c=$(BUILD)/obj/%.o)
TOOL_BINS  := $(TOOLS:%=$(BUILD)/bin/%)

# Tools that can be told where to die, for the tests of recovery.
FAILPOINT_PARTS := $(foreach room,service pager swapin swapout worker session lazymap,$(wildcard libcommon/$(room)/*.c)) libcommon/confine/filter.c libcommon/puppet/birth.c libcommon/puppet/puppet.c libcommon/access/by_ptrace.c
FAILPOINT_OBJS  := $(FAILPOINT_PARTS:%.c=$(BUILD)/obj/failpoints/%.o) $(BUILD)/obj/failpoints/tests/failpoint/failpoint.o
FAILPOINT_LIB   := $(BUILD)/failpoints/libcommon.a
FAILPOINT_BINS  := $(TOOLS:%=$(BUILD)/failpoints/bin/%)

UNIT_BINS  := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
TARGETS    := $(patsubst tests/targets/%.c,$(BUILD)/targets/%,$(wildcard tests/targets/*.c))
HELPERS    := $(patsubst tests/helpers/%.c,$(BUILD)/helpers/%,$(wildcard tests/helpers/*.c))
FUZZ_BINS  := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*.c))
BENCH_BINS := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))

# What the tests preload into the tools, so that a call of theirs fails.
FAIL      := $(BUILD)/fail/libfail.so
FAIL_OBJS := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/fail/*.c))

# What programs link or preload: public headers in libuvm/uvm, and of libcommon the parts that a program runs itself, compiled once more for it.
LIBDIR       ?= $(PREFIX)/lib
LIBUVM       := $(BUILD)/lib/libuvm.so.0
RING_PARTS   := libuvm/ring/protocol.c $(wildcard libuvm/ring/ring*.c)

LIBUVM_PARTS := $(RING_PARTS) $(SPACE_PARTS) libcommon/base/array.c libcommon/base/fd.c libcommon/base/region.c libcommon/base/size.c libcommon/base/text.c \
	libcommon/store/extents.c libcommon/uffd/open.c libcommon/uffd/uffd.c
LIBUVM_OBJS  := $(patsubst %.c,$(BUILD)/obj/pic/%.o,$(wildcard libuvm/agent/*.c)) $(LIBUVM_PARTS:%.c=$(BUILD)/obj/pic/%.o)
LIBUVM_FILES := $(LIBUVM) $(BUILD)/lib/libuvm.so $(BUILD)/lib/libuvm.a $(BUILD)/lib/uvm.pc

# What programs that know nothing of it preload: no dependency but libc, of which it uses only what musl has too. It lies in a directory of its own, where
# no program is linked with it by accident, so its name needs no version.
PKGLIBDIR    := $(PREFIX)/lib/uvmtools
RECLAIM      := $(BUILD)/lib/libuvm-reclaim.so
RECLAIM_OBJS := $(patsubst %.c,$(BUILD)/obj/reclaim/%.o,$(wildcard libuvm-reclaim/*.c) libcommon/base/size.c $(RING_PARTS))

# Completions: a program a tool, linked with its table, says what each shell is told, and the shell's frame makes that work.
COMPLETIONS := $(foreach tool,$(TOOLS),$(BUILD)/completions/bash/$(tool) $(BUILD)/completions/zsh/_$(tool) $(BUILD)/completions/fish/$(tool).fish)
WRITERS     := $(TOOLS:%=$(BUILD)/completions/write-%)

# What a service manager is given.
UNITS       := $(patsubst packaging/systemd/%.in,$(BUILD)/systemd/%,$(wildcard packaging/systemd/*.service.in))
UNITDIR     ?= $(PREFIX)/lib/systemd/system
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
UDEVDIR     ?= $(PREFIX)/lib/udev/rules.d

.PHONY: all lib libuvm libuvm-reclaim tools completions systemd failpoints unit targets benchmarks test check quick model soak fail guest demo bench install install-strip uninstall deps dist help clean format lint fuzz fuzzers
.DELETE_ON_ERROR:
.SECONDARY:

all: lib libuvm libuvm-reclaim tools completions systemd ## build everything (the default)
lib: $(LIB)
libuvm: $(LIBUVM_FILES)
libuvm-reclaim: $(RECLAIM)
tools: $(TOOL_BINS)
completions: $(COMPLETIONS)
systemd: $(UNITS)
failpoints: $(FAILPOINT_BINS) ## the tools with places at which tests kill and delay a session
unit: $(UNIT_BINS) ## the unit tests
targets: $(TARGETS) $(HELPERS) $(FAIL)
benchmarks: $(BENCH_BINS)
all lib libuvm libuvm-reclaim tools completions systemd failpoints unit targets benchmarks:
	@:

define object_rule
$(1)/%.o: %.c Makefile
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$$(CC) $$(ALL_FLAGS) $$(PKG_CFLAGS) -MMD -MP -c -o $$@ $$<
endef
$(foreach objects,$(BUILD)/obj $(BUILD)/obj/pic $(BUILD)/obj/debug $(BUILD)/obj/reclaim $(BUILD)/obj/failpoints,$(eval $(call object_rule,$(objects))))

$(BUILD)/obj/failpoints/%.o: ALL_FLAGS += -DUVM_FAILPOINTS
$(LIB): $(LIB_OBJS)
$(FAILPOINT_LIB): $(FAILPOINT_OBJS) $(filter-out $(FAILPOINT_PARTS:%.c=$(BUILD)/obj/%.o),$(LIB_OBJS))
$(LIB) $(FAILPOINT_LIB):
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(LIBUVM_OBJS): ALL_FLAGS += -fPIC -fvisibility=hidden

# Bound at once: the agent's thread must not run the dynamic linker. Never unloaded: nor lose its code.
$(LIBUVM): $(LIBUVM_OBJS) libuvm/libuvm.map
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -shared -pthread -Wl,-soname,libuvm.so.0 -Wl,--version-script=libuvm/libuvm.map -Wl,-z,relro,-z,now \
		-Wl,-z,nodelete -Wl,-z,defs $(LDFLAGS) -o $@ $(LIBUVM_OBJS)

$(RECLAIM_OBJS): ALL_FLAGS += -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-builtin-malloc -fno-builtin-calloc \
	-fno-builtin-realloc -fno-builtin-free -U_FORTIFY_SOURCE

$(RECLAIM): $(RECLAIM_OBJS) libuvm-reclaim/libuvm-reclaim.map
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -shared -pthread -Wl,-soname,$(@F) -Wl,--version-script=libuvm-reclaim/libuvm-reclaim.map -Wl,-z,relro,-z,now \
		-Wl,-z,nodelete -Wl,-z,defs -Wl,-Bsymbolic-functions $(LDFLAGS) -o $@ $(RECLAIM_OBJS)

$(FAIL_OBJS): ALL_FLAGS += -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-builtin-malloc -U_FORTIFY_SOURCE

$(FAIL): $(FAIL_OBJS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -shared -pthread -Wl,-z,defs $(LDFLAGS) -o $@ $^

$(BUILD)/lib/libuvm.so: $(LIBUVM)
	$(Q)ln -sfn libuvm.so.0 $@

# One object, in which only what the shared library shows has a name: the others are not in the way of the program's own.
$(BUILD)/obj/libuvm.o: $(LIBUVM_OBJS)
	$(call say,LD,$@)
	$(Q)$(CC) -r -nostdlib -o $@ $^ && $(OBJCOPY) --localize-hidden $@

$(BUILD)/lib/libuvm.a: $(BUILD)/obj/libuvm.o
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $<

.PHONY: FORCE
$(BUILD)/lib/uvm.pc: libuvm/uvm.pc.in FORCE
	@mkdir -p $(@D)
	$(Q)sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' $< >$@

$(BUILD)/systemd/%: packaging/systemd/%.in packaging/systemd/hardening FORCE
	@mkdir -p $(@D)
	$(Q)sed -e 's|@BINDIR@|$(PREFIX)/bin|g' -e '/@HARDENING@/{r packaging/systemd/hardening' -e 'd}' $< >$@

define tool_rule
$(BUILD)/bin/$(1): $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard cmd/main.c cmd/$(1)/*.c)) $(LIB)
$(BUILD)/completions/write-$(1): $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tools/completions/*.c cmd/$(1)/*.c)) $(LIB)
$(BUILD)/failpoints/bin/$(1): $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard cmd/main.c cmd/$(1)/*.c)) $(FAILPOINT_LIB)
endef
$(foreach tool,$(TOOLS),$(eval $(call tool_rule,$(tool))))

# The C library first: what other libraries bind late is found there, and nobody reads all their symbol tables, which would stay in a session's memory.
$(TOOL_BINS) $(FAILPOINT_BINS) $(BENCH_BINS) $(WRITERS):
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LINK_FLAGS) -o $@ $^ -lc $(PKG_LIBS) -lm

complete = $(Q)mkdir -p $(@D) && $< $(1) >$@
$(BUILD)/completions/bash/%: $(BUILD)/completions/write-% tools/completions/frame.bash
	$(call say,GEN,$@)
	$(call complete,bash) && sed 's/TOOL/$*/g' tools/completions/frame.bash >>$@
$(BUILD)/completions/zsh/_%: $(BUILD)/completions/write-% tools/completions/frame.zsh
	$(call say,GEN,$@)
	$(call complete,zsh) && sed 's/TOOL/$*/g' tools/completions/frame.zsh >>$@
$(BUILD)/completions/fish/%.fish: $(BUILD)/completions/write-%
	$(call say,GEN,$@)
	$(call complete,fish)

$(BENCH_BINS): $(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(LIB)

# The ring's own objects: with its checks of misuse, and alone, for a build with ThreadSanitizer that takes seconds.
$(BUILD)/unit/test_ring_debug: $(RING_PARTS:%.c=$(BUILD)/obj/debug/%.o)
$(BUILD)/obj/debug/%.o: ALL_FLAGS += -DUVM_RECLAIM_DEBUG
RING_RACE := $(BUILD)/unit/test_ring_race
$(RING_RACE): $(patsubst %.c,$(BUILD)/obj/%.o,tests/unit/test_ring_race.c tests/unit/line_buffered.c $(RING_PARTS))
$(RING_RACE): LINK_FLAGS += -Wl,--wrap=ring_lock,--wrap=ring_unlock

$(filter-out $(RING_RACE),$(UNIT_BINS)): $(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(BUILD)/obj/tests/unit/line_buffered.o $(LIB)
$(UNIT_BINS):
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LINK_FLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(PKG_LIBS) $(CMOCKA)

# Victims of the tests, and what the tests look at them with: plain programs that know nothing of this project's library.
$(TARGETS): $(BUILD)/targets/%: $(BUILD)/obj/tests/targets/%.o
$(HELPERS): $(BUILD)/helpers/%: $(BUILD)/obj/tests/helpers/%.o
$(TARGETS) $(HELPERS):
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LINK_FLAGS) -o $@ $^

$(FUZZ_BINS): $(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LINK_FLAGS) -fsanitize=fuzzer -o $@ $^ $(PKG_LIBS)

# But for those that have a ring: as a program that links libuvm.
$(BUILD)/targets/ring $(BUILD)/targets/ringcache: $(RING_PARTS:%.c=$(BUILD)/obj/pic/%.o)

# As many jobs as there are processors, unless the caller said how many.
submake = $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

TESTS ?=
test: ## build all, and run the tests (or those in TESTS) with what is installed
	@+$(submake) all failpoints unit targets
	@UVM_BUILD=$(abspath $(BUILD)) tests/run $(TESTS)

check: deps ## install what is missing, and run all tests, the unit tests also under sanitizers
	@+$(submake) all failpoints unit targets
	@+$(submake) CC=clang SAN=1 BUILD=$(BUILD)/sanitize unit
	@+$(submake) CC=clang TSAN=1 BUILD=$(BUILD)/thread $(BUILD)/thread/unit/test_ring_race
	@UVM_BUILD=$(abspath $(BUILD)) tests/run

QUICK := memory that was swapped out is gone
quick: deps ## lint of what changed, the unit tests, and one test of the main job of swapctl
	@tools/lint --changed
	@+$(submake) all unit targets
	@UVM_BUILD=$(abspath $(BUILD)) UVM_TEST_FILTER='$(QUICK)' tests/run $(UNIT_BINS) tests/bats/swapctl.bats

# The reclaim ring's protocol, much further than "make check" looks: some minutes and gigabytes.
model: deps ## every interleaving of some steps of the protocol of the ring: minutes, 6 GB
	MODEL_O=-O2 MODEL_MIB=6000 tests/model/run -DSTEPS=5 -DROUNDS=2 -DSTORES=4
	MODEL_O=-O2 MODEL_MIB=6000 tests/model/run -DREGIONS=3 -DSTEPS=4 -DROUNDS=2 -DSTORES=4 -DRESIZES=2

# Bytes that nobody wrote, for what reads from stores and rings; each for so many seconds.
FUZZ_SECONDS ?= 60
fuzz: deps ## bytes that nobody wrote, for what reads stores and rings, FUZZ_SECONDS each
	@+$(submake) CC=clang SAN=1 FUZZ=1 BUILD=$(BUILD)/fuzzing fuzzers
	@set -e; for each in $(FUZZ_BINS:$(BUILD)/%=$(BUILD)/fuzzing/%); do \
		echo "$$each"; (cd $(BUILD)/fuzzing && $(abspath .)/$$each -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1); \
	done
fuzzers: $(FUZZ_BINS)

demo: deps ## swap a redis-server out and back, and say what happened
	@+$(submake) all
	@UVM_BUILD=$(abspath $(BUILD)) tools/demo

SOAK_SECONDS ?= 3600
REPEATED = $(filter-out tests/bats/swapctl-soak.bats,$(shell grep -lE '\<(repeat [0-9]|at_length)' tests/bats/*.bats))
SEED ?= $(call once,SEED,$(shell od -An -N3 -tu4 /dev/urandom | tr -d ' '))
soak: deps ## the repeated tests at length, then the random test for SOAK_SECONDS, with SEED
	@+$(submake) all targets
	@echo "make soak SEED=$(SEED) SOAK_SECONDS=$(SOAK_SECONDS)"
	@UVM_TEST_LONG=1 SEED=$(SEED) SOAK_SECONDS=$(SOAK_SECONDS) UVM_TEST_LIMIT=$$(($(SOAK_SECONDS) + 400)) \
		UVM_BUILD=$(abspath $(BUILD)) tests/run $(REPEATED) tests/bats/swapctl-soak.bats

# Every call of a session fails once at every place that makes it, which takes hours; then its processes are killed at random.
fail: deps ## every call of swapctl fails once, and its processes are killed: hours
	@+$(submake) all targets
	@UVM_BUILD=$(abspath $(BUILD)) tests/fail/calls
	@UVM_BUILD=$(abspath $(BUILD)) tests/fail/kills --one 300 --all 60
	@UVM_BUILD=$(abspath $(BUILD)) tests/fail/adopt --runs 2000
	@UVM_BUILD=$(abspath $(BUILD)) tests/fail/full --runs 2000

# What depends on cgroups of version 2, in a guest with a kernel of your choice (KERNEL=/boot/vmlinuz…): 10 minutes, under emulation.
guest: deps ## what depends on cgroups of version 2, in a guest with the kernel in KERNEL
	@+$(submake) all targets
	@UVM_BUILD=$(abspath $(BUILD)) tests/guest $(KERNEL)

bench: ## the figures of bench/RESULTS.md
	@tools/deps >&2
	@+$(submake) all targets benchmarks >&2
	@UVM_BUILD=$(abspath $(BUILD)) bench/all

deps: ## install the Debian packages that are missing for building and testing
	@tools/deps

lint: ## print what breaks the rules of the project
	@tools/lint

format: ## format the C files
	clang-format -i $$(tools/lint --list-c)

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | while IFS="$$(printf '\t')" read -r target does; do \
		printf '  %-14s %s\n' "$$target" "$$does"; \
	done
	@echo 'Variables: BUILD, PREFIX, LIBDIR, DESTDIR, CC, CPPFLAGS, CFLAGS, LDFLAGS, WERROR=1, SAN=1, V=1.'

# The last commit, as others get it.
dist: ## write build/uvmtools-VERSION.tar.xz
	@mkdir -p $(BUILD)
	$(Q)git archive --prefix=uvmtools-$(VERSION)/ HEAD | xz >$(BUILD)/uvmtools-$(VERSION).tar.xz
	@echo $(BUILD)/uvmtools-$(VERSION).tar.xz

# Each file to install as FROM:TO, so that what uninstall removes is what install made.
share := $(PREFIX)/share
to = $(foreach file,$(2),$(file):$(1)/$(notdir $(file)))
installed = $(call to,$(PREFIX)/bin,$(TOOL_BINS)) \
	$(call to,$(LIBDIR),$(filter-out %.pc,$(LIBUVM_FILES))) $(call to,$(LIBDIR)/pkgconfig,$(BUILD)/lib/uvm.pc) $(call to,$(PKGLIBDIR),$(RECLAIM)) \
	$(call to,$(PREFIX)/include/uvm,$(wildcard libuvm/uvm/*.h)) \
	$(call to,$(UNITDIR),$(UNITS)) $(call to,$(TMPFILESDIR),packaging/systemd/tmpfiles.d/uvmtools.conf) \
	$(call to,$(SYSUSERSDIR),packaging/systemd/sysusers.d/uvmtools.conf) $(call to,$(UDEVDIR),packaging/systemd/60-uvm.rules) \
	$(foreach n,1 3 5 7,$(call to,$(share)/man/man$(n),$(wildcard man/*.$(n)))) \
	$(call to,$(share)/uvmtools,$(wildcard share/uvmtools/*)) \
	$(call to,$(share)/bash-completion/completions,$(filter $(BUILD)/completions/bash/%,$(COMPLETIONS))) \
	$(call to,$(share)/zsh/site-functions,$(filter $(BUILD)/completions/zsh/%,$(COMPLETIONS))) \
	$(call to,$(share)/fish/vendor_completions.d,$(filter $(BUILD)/completions/fish/%,$(COMPLETIONS)))

# Each function that a page of the library names is a page too: one line that shows the first, as PAGE:TO.
man_names = $(shell sed -n '/^\.Sh NAME/,/^\.Nd/s/^\.Nm \([a-z_0-9]*\).*/\1/p' $(1))
man_links = $(foreach page,$(wildcard man/*.3),$(foreach name,$(filter-out $(basename $(notdir $(page))),$(call man_names,$(page))),\
	$(notdir $(page)):$(share)/man/man3/$(name).3))

install: all ## install below PREFIX, in DESTDIR
	$(Q)set -e; for pair in $(strip $(installed)); do \
		from=$${pair%%:*}; to="$(DESTDIR)$${pair#*:}"; \
		case $$from in */bin/*) mode=755 ;; *) mode=644 ;; esac; \
		case $$from in */bin/* | *.so | *.so.*) strip="$(install_strip)" ;; *) strip= ;; esac; \
		echo "  INST $$to"; \
		case $$from in */libuvm.so) ln -sfn libuvm.so.0 "$$to"; continue ;; esac; \
		$(INSTALL) $$strip -D -m $$mode "$$from" "$$to"; \
	done; \
	for pair in $(strip $(man_links)); do \
		to="$(DESTDIR)$${pair#*:}"; \
		echo "  INST $$to"; \
		echo ".so man3/$${pair%%:*}" | $(INSTALL) -m 644 /dev/stdin "$$to"; \
	done

install-strip: install_strip := -s
install-strip: install ## the same, without symbols

uninstall: ## remove what install made
	$(Q)set -e; for pair in $(strip $(installed) $(man_links)); do \
		to="$(DESTDIR)$${pair#*:}"; \
		echo "  RM   $$to"; \
		rm -f "$$to"; \
	done

clean: ## remove what was built
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
