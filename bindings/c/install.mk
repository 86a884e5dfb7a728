# What a C or C++ project needs: the headers, both libraries, and what pkg-config and CMake ask for.
# `make install PREFIX=/opt/revenium`; DESTDIR stands before every path that is written to, but in no file.
# Where root has no cargo: `make install DESTDIR=stage` and copy, or `sudo make install CARGO=true` after a build.

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
PROFILE ?= release
INSTALL ?= install

# How the files of a system are called: linux, darwin or win32. Others than the first are packed here, not built.
SYSTEM ?= linux
# What a program with the static library is linked with besides.
STATIC_LIBRARIES ?= -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc

VERSION = $(shell sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
SONAME = librevenium.so.$(shell sed -n 's/^.define REVENIUM_ABI_VERSION //p' include/revenium.h)
BUILT := $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
# The files to install: of a build here, or of one that lies elsewhere (with CARGO=true).
SHARED ?= $(BUILT)/librevenium.so
STATIC ?= $(BUILT)/librevenium.a
COMMAND ?= $(BUILT)/revenium
CMAKEDIR := $(LIBDIR)/cmake/revenium
DOCDIR := $(PREFIX)/share/doc/revenium

# The installed tree may be moved as a whole: its files name each other by relative paths.
relative = $(shell realpath -m --relative-to=$(2) $(1))
IN_LIB = $${_revenium_prefix}/$(call relative,$(LIBDIR),$(PREFIX))
IN_BIN = $${_revenium_prefix}/$(call relative,$(BINDIR),$(PREFIX))
SHARED_linux = IMPORTED_LOCATION "$(IN_LIB)/librevenium.so" IMPORTED_SONAME "$(SONAME)"
SHARED_darwin = IMPORTED_LOCATION "$(IN_LIB)/librevenium.dylib" IMPORTED_SONAME "@rpath/librevenium.1.dylib"
SHARED_win32 = IMPORTED_LOCATION "$(IN_BIN)/revenium.dll" IMPORTED_IMPLIB "$(IN_LIB)/librevenium.dll.a"
# CMake takes words one by one, pkg-config a line.
empty :=
STATIC_LIST = $(subst $(empty) ,;,$(subst -framework ,-framework~,$(STATIC_LIBRARIES)))
fill = sed -e 's|@VERSION@|$(VERSION)|g' -e 's|@SONAME@|$(SONAME)|g' \
    -e 's|@STATIC_LIBRARIES@|$(STATIC_LIBRARIES)|' -e 's|@STATIC_LIST@|$(subst ~, ,$(STATIC_LIST))|' \
    -e 's|@SHARED_PROPERTIES@|$(SHARED_$(SYSTEM))|' \
    -e 's|@PREFIX_FROM_PC@|$(call relative,$(PREFIX),$(LIBDIR)/pkgconfig)|g' \
    -e 's|@PREFIX_FROM_CMAKE@|$(call relative,$(PREFIX),$(CMAKEDIR))|g' \
    -e 's|@LIBDIR@|$(call relative,$(LIBDIR),$(PREFIX))|g' -e 's|@INCLUDEDIR@|$(call relative,$(INCLUDEDIR),$(PREFIX))|g'

define install_linux
$(INSTALL) -m 755 $(SHARED) $(DESTDIR)$(LIBDIR)/librevenium.so.$(VERSION)
ln -sf librevenium.so.$(VERSION) $(DESTDIR)$(LIBDIR)/$(SONAME)
ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/librevenium.so
endef
define install_darwin
$(INSTALL) -m 755 $(SHARED) $(DESTDIR)$(LIBDIR)/librevenium.1.dylib
ln -sf librevenium.1.dylib $(DESTDIR)$(LIBDIR)/librevenium.dylib
endef
define install_win32
$(INSTALL) -m 755 $(SHARED) $(DESTDIR)$(BINDIR)
$(INSTALL) -m 644 $(dir $(STATIC))librevenium.dll.a $(DESTDIR)$(LIBDIR)
endef

install: ## headers, libraries, the revenium command, pkg-config and CMake files; PREFIX, DESTDIR, LIBDIR, PROFILE
	$(CARGO) build --package revenium --lib --package revenium-command --bin revenium --profile $(PROFILE)
	$(if $(filter dev,$(PROFILE)),,$(CARGO) $(FOR_OTHERS) --profile $(PROFILE))
	$(INSTALL) -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(INCLUDEDIR)/revenium $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(CMAKEDIR) \
	    $(DESTDIR)$(DOCDIR)
	$(INSTALL) -m 644 LICENSE THIRD_PARTY.md $(DESTDIR)$(DOCDIR)
	$(INSTALL) -m 644 include/revenium.h bindings/cpp/revenium.hpp $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL) -m 644 bindings/cpp/revenium/*.hpp $(DESTDIR)$(INCLUDEDIR)/revenium
	$(INSTALL) -m 755 $(COMMAND) $(DESTDIR)$(BINDIR)
	$(install_$(SYSTEM))
	$(INSTALL) -m 644 $(STATIC) $(DESTDIR)$(LIBDIR)
	$(fill) bindings/c/revenium.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/revenium.pc
	for file in revenium-config revenium-config-version; do \
	    $(fill) bindings/c/$$file.cmake.in >$(DESTDIR)$(CMAKEDIR)/$$file.cmake || exit 1; done
	@[ -n "$(DESTDIR)" ] || bindings/c/hint.sh $(PREFIX) $(LIBDIR) $(BINDIR)

uninstall: ## the same files, gone
	rm -f $(DESTDIR)$(BINDIR)/revenium
	rm -f $(DESTDIR)$(INCLUDEDIR)/revenium.h $(DESTDIR)$(INCLUDEDIR)/revenium.hpp
	rm -rf $(DESTDIR)$(INCLUDEDIR)/revenium
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,librevenium.so.$(VERSION) $(SONAME) librevenium.so librevenium.a pkgconfig/revenium.pc)
	rm -rf $(DESTDIR)$(CMAKEDIR) $(DESTDIR)$(DOCDIR)
