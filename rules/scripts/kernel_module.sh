#!/bin/sh
# Compiles one kernel module against one kernel's headers, in the sandbox.
#
#   /k     header tree, read-only: build/ common/ kbuild/    NAME   the module, as in `obj-m := NAME.o`
#   /src   sources, read-only: Kbuild, *.c, *.h              UNAME  the kernel, as `uname -r` says it
#   .      an empty writable directory, on a fixed path      out/   receives NAME.ko.gz
set -eu

fail() {
	echo "kernel_module: $*" >&2
	exit 1
}

# A module must not remember when, where and by whom it was built.
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=0
export KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC' KBUILD_BUILD_USER=bld KBUILD_BUILD_HOST=bld
umask 022

# kbuild tries out compiler flags, and takes a compiler that cannot write its
# temporary file for one that does not know the flag: depend on no /tmp.
export TMPDIR="$PWD/.tmp"
mkdir -p .tmp

# .kernelvariables would ask dpkg for the first of these and compare it with
# the second. Both are set, and equal: this is never a cross build.
export DEB_BUILD_ARCH=amd64 DEB_HOST_ARCH=amd64

# Kbuild writes beside its sources. They may have come without the right to.
cp -R /src/. .
chmod -R u+w .

# The headers name their compiler (CC is an expression, so make has to say it).
# Without this check kbuild reports a missing one as a dozen odd errors.
cc=$(make -s -f /k/build/.kernelvariables --eval='cc:; @echo $(CC)' cc)
command -v -- "$cc" >/dev/null ||
	fail "the headers of $UNAME want the compiler '$cc', which this build root does not have"

# DWARF and __FILE__ would hold the working directory otherwise.
make -C /k/build M="$PWD" KCFLAGS="-ffile-prefix-map=$PWD=." modules

ko=$NAME.ko
[ -s "$ko" ] || fail "there is no $ko: does Kbuild say 'obj-m := $NAME.o'?"

# An empty source list compiles and links without a word.
nm --defined-only "$ko" | grep -qi ' t ' || fail "$ko has no code in it"

# insmod refuses a module whose vermagic is not its own; say so now. No modinfo
# in the build root: .modinfo is a row of NUL-terminated `key=value`.
objcopy -O binary --only-section=.modinfo "$ko" modinfo
vermagic=$(tr '\0' '\n' <modinfo | sed -n 's/^vermagic=\([^ ]*\).*/\1/p')
[ "$vermagic" = "$UNAME" ] || fail "$ko is for kernel '$vermagic', not for '$UNAME'"

# Drops DWARF, nine tenths of the file; keeps BTF, which the kernel reads.
strip -g "$ko"
gzip -n -9 -c "$ko" >"out/$ko.gz"
