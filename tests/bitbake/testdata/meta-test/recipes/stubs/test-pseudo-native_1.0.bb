SUMMARY = "Stands for pseudo-native: conf/host-tools.conf names the machine's"
LICENSE = "MIT"
INHIBIT_DEFAULT_DEPS = "1"
PROVIDES += "virtual/fakeroot-native pseudo-native"
inherit nopackages native
deltask do_fetch
deltask do_unpack
deltask do_patch
deltask do_configure
deltask do_compile
deltask do_install
deltask do_populate_lic
