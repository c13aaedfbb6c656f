#!/usr/bin/env bash
# image-check.sh: builds the image by the Dockerfile, without Docker, and tries it as a container runtime would run it.
#
# The bases are made here, of this machine's Rust and of Debian's packages, and handed in as the Dockerfile's arguments; nothing else is
# changed. What stays in .cache/image (layers and packages, at most 12 GB) makes the next run faster; with QUICK=1 the compiler does not
# optimise, and the size is not judged. Needs root, buildah, Rust, and what scripts/deps.sh fetches (Java, Kafka, Redis).
set -euo pipefail
cd "$(dirname "$0")/.."

# The most that the program, and the image without its base, may take. Measured: docs/kubernetes.md.
PROGRAM_MOST=$((32 << 20))
IMAGE_MOST=$((40 << 20))
# Of Debian's packages that distroless cc is made of: those that the program needs. It may need no other.
RUNTIME_PACKAGES="base-files libc6 libgcc-s1 gcc-12-base ca-certificates netbase tzdata"
LIBRARIES="libc.so.6 libm.so.6 libgcc_s.so.1 ld-linux-x86-64.so.2 ld-linux-aarch64.so.1"
export FEATURES=${FEATURES-kafka-tls}

cache=$PWD/.cache/image
image=localhost/dualstream:checked

die() { printf 'image-check: %s\n' "$*" >&2; exit 1; }
say() { printf 'image-check: %s\n' "$*"; }
# expect WHAT FOUND WANTED
expect() { [ "$2" = "$3" ] || die "$1: '$2', not '$3'"; }
b() { buildah --root "$cache/store" --runroot "$cache/run" --storage-driver "$driver" "$@"; }

prerequisites() {
    local program
    for program in buildah unshare nsenter setpriv readelf curl dpkg-deb apt-get cargo java redis-server ip; do
        command -v "$program" >/dev/null || die "$program is missing; buildah is a package of Debian: apt-get install buildah"
    done
    mkdir -p "$cache/packages"
    # Two runs would take each other's layers away.
    exec 9>"$cache/lock"
    flock 9
    # Each change of the source leaves a layer of about a gigabyte behind.
    [ "$(du -sm "$cache" | cut -f 1)" -le 12000 ] || rm -rf "$cache/store" "$cache/run"
    printf '{"default": [{"type": "insecureAcceptAnything"}]}\n' >"$cache/policy.json"
    driver=overlay
    b info >/dev/null 2>&1 || driver=vfs
}

# The builder: a root into which this machine's programs are mounted while the image is built.
build_base() {
    build_image="localhost/build:$(rustc -V | cut -d ' ' -f 2)${QUICK:+-quick}"
    ! b inspect --type image "$build_image" >/dev/null 2>&1 || return 0
    local c root
    c=$(b from scratch)
    root=$(b mount "$c")
    mkdir -p "$root"/{usr,etc/ssl,etc/alternatives,tmp,var/tmp,rust,cargo,root}
    for part in bin sbin lib lib64; do ln -s "usr/$part" "$root/$part"; done
    b umount "$c" >/dev/null
    b config --env PATH=/rust/bin:/usr/local/bin:/usr/bin:/usr/sbin --env CARGO_HOME=/cargo "$c"
    [ -z "${QUICK-}" ] || b config --env CARGO_PROFILE_RELEASE_OPT_LEVEL=0 --env CARGO_PROFILE_RELEASE_LTO=off \
        --env CARGO_PROFILE_RELEASE_DEBUG=0 --env CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 "$c"
    b commit -q --rm --signature-policy "$cache/policy.json" "$c" "$build_image" >/dev/null
}

# The runtime: packages of Debian without their scripts, as distroless is, and neither shell nor libstdc++.
runtime_base() {
    local c root package
    runtime_image=localhost/runtime:debian
    ! b inspect --type image "$runtime_image" >/dev/null 2>&1 || return 0
    # shellcheck disable=SC2086 # one word per package
    (cd "$cache/packages" && { apt-get download -qq $RUNTIME_PACKAGES 2>/dev/null || { apt-get update -qq && apt-get download -qq $RUNTIME_PACKAGES 2>/dev/null; }; }) ||
        die "Debian's packages could not be fetched: $RUNTIME_PACKAGES"
    c=$(b from scratch)
    root=$(b mount "$c")
    mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
    for part in bin sbin lib lib64; do ln -s "usr/$part" "$root/$part"; done
    for package in "$cache"/packages/*.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink; done
    cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
    printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
    b umount "$c" >/dev/null
    b commit -q --rm --signature-policy "$cache/policy.json" "$c" "$runtime_image" >/dev/null
}

build() {
    b bud --signature-policy "$cache/policy.json" --format docker --isolation chroot --pull-never --layers -t "$image" \
        -v /usr:/usr:ro -v /etc/ssl:/etc/ssl:ro -v /etc/alternatives:/etc/alternatives:ro -v "$(rustc --print sysroot):/rust:ro" \
        -v "${CARGO_HOME:-$HOME/.cargo}:/cargo:rw" --build-arg BUILD_IMAGE="$build_image" --build-arg RUNTIME_IMAGE="$runtime_image" \
        --build-arg FEATURES="$FEATURES" --build-arg REVISION=checked . >"$cache/build.log" 2>&1 ||
        { tail -n 30 "$cache/build.log" >&2; die "the image does not build"; }
}

of() { b inspect --type image --format "{{$1}}" "$image"; }
label() { of "index .Docker.Config.Labels \"org.opencontainers.image.$1\""; }

settings() {
    local name
    expect user "$(of .Docker.Config.User)" 65532:65532
    expect entrypoint "$(of .Docker.Config.Entrypoint)" '[/usr/local/bin/dualstream]'
    expect command "$(of .Docker.Config.Cmd)" '[run]'
    [[ "$(of .Docker.Config.Env)" = *" DUALSTREAM__BUFFER__DIR=/var/lib/dualstream/buffer"* ]] || die "the buffer's place is not set"
    expect "stop signal" "$(of .Docker.Config.StopSignal)" SIGTERM
    expect "health check" "$(of .Docker.Config.Healthcheck.Test)" '[CMD /usr/local/bin/dualstream healthcheck --live]'
    expect "label version" "$(label version)" "$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)"
    expect "label licenses" "$(label licenses)" "$(sed -n 's/^license = "\(.*\)"$/\1/p' Cargo.toml)"
    expect "label revision" "$(label revision)" checked
    for name in title description source; do [ -n "$(label "$name")" ] || die "label $name is empty"; done
}

files() {
    local program=$root/usr/local/bin/dualstream needed library bytes base
    needed=$(readelf -d "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p')
    [ -n "$needed" ] || die "the program names no library: is it one?"
    for library in $needed; do
        [[ " $LIBRARIES " = *" $library "* ]] || die "the program needs $library, which the base need not have"
    done
    [ -z "$(find "$root" \( -name sh -o -name bash -o -name busybox \) -type f -print -quit)" ] || die "there is a shell"
    [ -z "$(find "$root" -xdev -type f -perm /6000 -print -quit)" ] || die "there is a setuid program"
    expect "owner of the buffer's place" "$(stat -c %u:%g "$root/var/lib/dualstream")" 65532:65532
    expect "owner of the sockets' place" "$(stat -c %u:%g "$root/run/dualstream")" 65532:65532
    scripts/sbom.py --check "$root/usr/share/doc/dualstream/dualstream.cdx.json" || die "its bill of materials is wrong"
    scripts/sbom.py --features "$FEATURES" --target "$(rustc -vV | sed -n 's/^host: //p')" | cmp - "$root/usr/share/doc/dualstream/dualstream.cdx.json" ||
        die "its bill of materials is of another program"
    bytes=$(stat -c %s "$program")
    base=$(b from --pull-never "$runtime_image")
    base=$(($(du -s --block-size=1 "$root" | cut -f 1) - $(du -s --block-size=1 "$(b mount "$base")" | cut -f 1)))
    say "libraries: $(tr '\n' ' ' <<<"$needed")"
    say "program $bytes bytes, image without its base $base bytes"
    [ -n "${QUICK-}" ] || [ "$bytes" -le "$PROGRAM_MOST" ] || die "the program is larger than $PROGRAM_MOST bytes"
    [ -n "${QUICK-}" ] || [ "$base" -le "$IMAGE_MOST" ] || die "the image without its base is larger than $IMAGE_MOST bytes"
}

[ "$(id -u)" = 0 ] || die "needs root: it mounts, makes namespaces and changes its root"
# Mounts of its own, so that none is left, however this ends.
[ -n "${IMAGE_CHECK_MOUNTS-}" ] || IMAGE_CHECK_MOUNTS=own exec unshare --mount --propagation private "$PWD/scripts/image-check.sh"
prerequisites
b rm --all >/dev/null 2>&1
say "bases (layers: $driver)"
build_base
runtime_base
say "build"
build
settings
b rm --all >/dev/null 2>&1
root=$(b mount "$(b from --pull-never "$image")")
files
# A network of its own: the image's own ports, whoever else has them.
unshare --net --mount scripts/image-run.sh "$root" </dev/null
b rm --all >/dev/null
say "ok"
