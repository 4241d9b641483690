#!/bin/bash
# The bare compiler loop: the same cells, the same scripts, the same trees, two at once; no bld.
# Usage: bare-loop.sh <folder made by prepare.sh> <jobs>
# Each cell gets a mount namespace and a chroot of its own, in directories that were prepared before the clock started.
set -euo pipefail
folder=$1 jobs=$2

cell() {
	folder=$1 line=$2
	read -r kind kernel version <<<"$line"
	work=$folder/work/$kind-$kernel-$version
	exec unshare -m --propagation private /bin/bash -c '
		set -eu
		folder=$1 kind=$2 kernel=$3 version=$4 work=$5
		root=$work/root
		mount -t overlay -o "lowerdir=$folder/roots/$kind,upperdir=$work/upper,workdir=$work/overlay" none "$root"
		mkdir -p "$root"/{k,src,bld,work,dev,proc,tmp}
		mount --bind "$folder/k/$kernel" "$root/k"
		mount --bind "$folder/src/$version" "$root/src"
		mount --bind "$folder/scripts" "$root/bld"
		mount --bind "$work/cwd" "$root/work"
		mount --bind /dev "$root/dev"
		mount -t tmpfs none "$root/tmp"
		[ "$kind" = mod ] && script=kernel_module.sh || script=ebpf_probe.sh
		exec env -i HOME=/work LC_ALL=C.UTF-8 PATH=/usr/bin:/bin:/usr/sbin:/sbin SOURCE_DATE_EPOCH=0 TZ=UTC \
			NAME=echo UNAME="$kernel" CLANG=clang-14 SOURCE=probe.bpf.c \
			chroot "$root" /bin/sh -c "cd /work && exec sh /bld/$script" >"$work/log" 2>&1
	' bash "$folder" "$kind" "$kernel" "$version" "$work"
}
export -f cell
xargs -a "$folder/cells" -P "$jobs" -d '\n' -I{} bash -c 'cell "$0" "$1"' "$folder" {}
