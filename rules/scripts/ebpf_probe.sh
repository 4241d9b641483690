#!/bin/sh
# Compiles one eBPF probe against one kernel's headers, in the sandbox.
#
#   /k     header tree, read-only: build/ common/ kbuild/    NAME    the probe; out/  receives NAME.o.gz
#   /src   sources, read-only                                UNAME   the kernel, as `uname -r` says it
#   .      an empty writable directory, on a fixed path      SOURCE  file in /src, by default probe.bpf.c
set -eu

fail() {
	echo "ebpf_probe: $*" >&2
	exit 1
}

SOURCE=${SOURCE:-probe.bpf.c}
CLANG=${CLANG:-clang-14}
# llvm-strip-14 belongs to clang-14: the suffix is the same, if there is one.
suffix=${CLANG#clang}
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=0
umask 022

for tool in "$CLANG" "llvm-strip$suffix" "llvm-readelf$suffix" "llvm-objcopy$suffix"; do
	command -v "$tool" >/dev/null || fail "this build root does not have '$tool'"
done

# The kernel's generated headers come first, or the C library's copy of
# <linux/version.h> would answer for its own kernel. -target bpf knows no
# multiarch directory, where <asm/types.h> is. -g is for BTF.
"$CLANG" -target bpf -D__TARGET_ARCH_x86 -O2 -g -Wall \
	-ffile-prefix-map=/src=. -fdebug-compilation-dir=. \
	-I /k/build/include/generated/uapi -I /k/build/include \
	-idirafter /usr/include/x86_64-linux-gnu \
	-c "/src/$SOURCE" -o "$NAME.o"

[ -s "$NAME.o" ] || fail "$NAME.o is empty"

# A program is a section with code in it; the compiler always adds an empty .text.
llvm-readelf$suffix -S -W "$NAME.o" | grep -v ' \.text ' |
	grep -qE ' PROGBITS +[0-9a-f]+ [0-9a-f]+ [0-9a-f]*[1-9a-f][0-9a-f]* 00 +AX ' ||
	fail "$NAME.o has no program in it (a function under SEC(..))"

# If the probe says which kernel it is for, it must be this one.
llvm-objcopy$suffix --dump-section kernel_version=release "$NAME.o" 2>/dev/null || : >release
release=$(tr -d '\0' <release)
[ -z "$release" ] || [ "$release" = "$UNAME" ] ||
	fail "$NAME.o is for kernel '$release', not for '$UNAME'"

# Drops DWARF, keeps BTF: libbpf takes the maps and their types from it.
llvm-strip$suffix -g "$NAME.o"
gzip -n -9 -c "$NAME.o" >"out/$NAME.o.gz"
