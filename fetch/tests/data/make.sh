#!/bin/sh
# Makes the mirror and the keyrings beside this script anew. Needs dpkg-deb, gpg, xz, gzip, zstd.
# The secret keys are thrown away: whoever changes the mirror signs all of it with new ones.
set -eu
cd "$(dirname "$0")"
rm -rf mirror keyring.gpg keyring.asc stranger.gpg
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GNUPGHOME="$work/gnupg" SOURCE_DATE_EPOCH=1000000000 LC_ALL=C TZ=UTC
mkdir -m 700 "$GNUPGHOME"
# Long ago: a machine whose clock is behind must not take the keys for made in the future.
echo "faked-system-time 20200101T000000!" >"$GNUPGHOME/gpg.conf"
for who in bld stranger; do
  gpg --batch --quiet --passphrase '' --quick-gen-key "$who test <$who@example.invalid>" ed25519 sign never
done
gpg --batch --quiet --export bld@example.invalid >keyring.gpg
gpg --batch --quiet --armor --export bld@example.invalid >keyring.asc
gpg --batch --quiet --export stranger@example.invalid >stranger.gpg

# deb <compression> <name> <version> <arch> <file> [<field>…]: a package with one file.
deb() {
  compression=$1 name=$2 version=$3 arch=$4 file=$5
  shift 5
  root="$work/root"
  rm -rf "$root"
  mkdir -p "$root/DEBIAN" "$root/$(dirname "$file")"
  echo "$name $version" >"$root/$file"
  {
    printf 'Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: bld <bld@example.invalid>\n' "$name" "$version" "$arch"
    for field in "$@"; do echo "$field"; done
    printf 'Description: a test\n'
  } >"$root/DEBIAN/control"
  find "$root" -exec touch -d @1000000000 {} +
  mkdir -p mirror/pool
  dpkg-deb --root-owner-group -Z"$compression" -b "$root" "mirror/pool/${name}_${version#*:}_$arch.deb" >/dev/null
}

# kernel <n> <version>: headers and common package of 6.1.0-<n>.
kernel() {
  deb xz "linux-headers-6.1.0-$1-amd64" "$2" amd64 "usr/src/linux-headers-6.1.0-$1-amd64/.config" \
    "Depends: linux-headers-6.1.0-$1-common (= $2), linux-kbuild-6.1 (>= 6.1.1-1), linux-compiler-gcc-12-x86"
  deb xz "linux-headers-6.1.0-$1-common" "$2" all "usr/src/linux-headers-6.1.0-$1-common/Makefile"
}

deb xz hello 1:1.0-1 amd64 usr/bin/hello 'Depends: libhello1 (>= 1.0~), awk | busybox' 'Pre-Depends: base-data'
deb gzip libhello1 1.0-1 amd64 usr/lib/libhello.so.1
deb gzip libhello1 1.0-2 amd64 usr/lib/libhello.so.1
deb zstd base-data 3 all usr/share/base-data
deb xz mawk 1.3-1 amd64 usr/bin/mawk 'Provides: awk'
deb xz gawk 1:5-1 amd64 usr/bin/gawk 'Provides: awk' 'Conflicts: mawk'
deb xz linux-headers-amd64 6.1.2-1 amd64 usr/share/doc/linux-headers-amd64 'Depends: linux-headers-6.1.0-2-amd64'
deb xz linux-kbuild-6.1 6.1.2-1 amd64 usr/lib/linux-kbuild-6.1/modpost
deb xz linux-kbuild-6.1 6.1.3-1 amd64 usr/lib/linux-kbuild-6.1/modpost
kernel 1 6.1.1-1
kernel 2 6.1.2-1
kernel 3 6.1.3-1
# The kernels themselves; the first is not signed yet.
deb xz linux-image-6.1.0-1-amd64-unsigned 6.1.1-1 amd64 boot/vmlinuz-6.1.0-1-amd64
deb xz linux-image-6.1.0-2-amd64 6.1.2-1 amd64 boot/vmlinuz-6.1.0-2-amd64
deb xz linux-image-6.1.0-3-amd64 6.1.3-1 amd64 boot/vmlinuz-6.1.0-3-amd64

# suite <name> <key> <forms of the index> <Release field> <archive>…
suite() {
  name=$1 key=$2 forms=$3 field=$4
  shift 4
  dir="mirror/dists/$name"
  index="$dir/main/binary-amd64"
  mkdir -p "$index"
  for file in "$@"; do
    dpkg-deb -f "mirror/pool/$file"
    printf 'Filename: pool/%s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat -c %s "mirror/pool/$file")" "$(sha256sum "mirror/pool/$file" | cut -d' ' -f1)"
  done >"$work/Packages"
  for form in $forms; do
    case $form in
      plain) cp "$work/Packages" "$index/Packages" ;;
      xz) xz -c "$work/Packages" >"$index/Packages.xz" ;;
      gz) gzip -nc "$work/Packages" >"$index/Packages.gz" ;;
      zst) zstd -qc "$work/Packages" >"$index/Packages.zst" ;;
      by-hash)
        xz -c "$work/Packages" >"$work/Packages.xz"
        mkdir -p "$index/by-hash/SHA256"
        cp "$work/Packages.xz" "$index/by-hash/SHA256/$(sha256sum "$work/Packages.xz" | cut -d' ' -f1)"
        ;;
    esac
  done
  {
    printf 'Origin: bld\nSuite: %s\nCodename: %s\nDate: Sun, 09 Sep 2001 01:46:40 UTC\n' "$name" "$name"
    [ -z "$field" ] || echo "$field"
    printf 'Architectures: amd64\nComponents: main\nSHA256:\n'
    for file in "$index"/Packages*; do
      [ ! -f "$file" ] || printf ' %s %s %s\n' "$(sha256sum "$file" | cut -d' ' -f1)" "$(stat -c %s "$file")" "main/binary-amd64/$(basename "$file")"
    done
    case $forms in
      *by-hash*) printf ' %s %s main/binary-amd64/Packages.xz\n' "$(sha256sum "$work/Packages.xz" | cut -d' ' -f1)" "$(stat -c %s "$work/Packages.xz")" ;;
    esac
  } >"$dir/Release"
  gpg --batch --quiet --local-user "$key" --clearsign --output "$dir/InRelease" "$dir/Release"
  gpg --batch --quiet --local-user "$key" --detach-sign --armor --output "$dir/Release.gpg" "$dir/Release"
}

common='base-data_3_all.deb mawk_1.3-1_amd64.deb gawk_5-1_amd64.deb hello_1.0-1_amd64.deb linux-headers-amd64_6.1.2-1_amd64.deb'
stable="$common libhello1_1.0-1_amd64.deb linux-kbuild-6.1_6.1.2-1_amd64.deb
  linux-headers-6.1.0-1-amd64_6.1.1-1_amd64.deb linux-headers-6.1.0-1-common_6.1.1-1_all.deb
  linux-headers-6.1.0-2-amd64_6.1.2-1_amd64.deb linux-headers-6.1.0-2-common_6.1.2-1_all.deb
  linux-image-6.1.0-1-amd64-unsigned_6.1.1-1_amd64.deb linux-image-6.1.0-2-amd64_6.1.2-1_amd64.deb"
later="$common libhello1_1.0-2_amd64.deb linux-kbuild-6.1_6.1.3-1_amd64.deb
  linux-headers-6.1.0-2-amd64_6.1.2-1_amd64.deb linux-headers-6.1.0-2-common_6.1.2-1_all.deb
  linux-headers-6.1.0-3-amd64_6.1.3-1_amd64.deb linux-headers-6.1.0-3-common_6.1.3-1_all.deb
  linux-image-6.1.0-2-amd64_6.1.2-1_amd64.deb linux-image-6.1.0-3-amd64_6.1.3-1_amd64.deb"
suite stable bld@example.invalid by-hash 'Acquire-By-Hash: yes' $stable
suite later bld@example.invalid 'gz xz' '' $later
suite expired bld@example.invalid zst 'Valid-Until: Mon, 10 Sep 2001 01:46:40 UTC' $stable
suite backports bld@example.invalid plain 'NotAutomatic: yes' libhello1_1.0-2_amd64.deb
suite foreign stranger@example.invalid xz '' $stable
