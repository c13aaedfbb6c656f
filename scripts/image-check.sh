#!/usr/bin/env bash
# image-check.sh: builds the image of the Dockerfile without Docker, from bases made of this machine, and tries it as nobody on a
# read-only root. The compiler is not told to optimise: what is tried is the Dockerfile. Needs root, buildah (Debian's package) and Rust.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'image-check: %s\n' "$*" >&2; exit 1; }
say() { printf 'image-check: %s\n' "$*"; }

[ "$(id -u)" = 0 ] || die "needs root: it mounts, and changes its root"
command -v buildah >/dev/null || die "buildah is missing: apt-get install buildah"

mkdir -p .cache
dir=$(mktemp -d "$PWD/.cache/image.XXXXXX")
relay=
finish() {
    [ -z "$relay" ] || kill -9 "$relay" 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT
b() { buildah --root "$dir/store" --runroot "$dir/run" --storage-driver vfs "$@"; }
policy() { printf '{"default": [{"type": "insecureAcceptAnything"}]}\n' >"$dir/policy.json"; }

# A base with this machine's programs, which are mounted while the image is built.
make_build_base() {
    local c root
    c=$(b from --signature-policy "$dir/policy.json" scratch)
    root=$(b mount "$c")
    mkdir -p "$root"/{usr,etc/ssl,etc/alternatives,tmp,var/tmp,rust,cargo,root}
    ln -s usr/bin "$root/bin"; ln -s usr/sbin "$root/sbin"; ln -s usr/lib "$root/lib"; ln -s usr/lib64 "$root/lib64"
    b umount "$c" >/dev/null
    b config --env PATH=/rust/bin:/usr/bin:/bin --env CARGO_HOME=/cargo --env CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
        --env CARGO_PROFILE_RELEASE_LTO=off --env CARGO_PROFILE_RELEASE_DEBUG=0 --env CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 "$c"
    b commit -q --rm --signature-policy "$dir/policy.json" "$c" localhost/build >/dev/null
}

# What distroless cc has, and no more: glibc, libgcc, certificates.
make_runtime_base() {
    local c root lib
    c=$(b from --signature-policy "$dir/policy.json" scratch)
    root=$(b mount "$c")
    mkdir -p "$root"/{usr/lib64,usr/bin,etc/ssl/certs,var/lib,run,tmp,proc,dev}
    ln -s usr/lib64 "$root/lib64"; ln -s usr/lib64 "$root/lib"; ln -s usr/bin "$root/bin"
    for lib in libc.so.6 libm.so.6 libgcc_s.so.1 libdl.so.2 libpthread.so.0 librt.so.1 ld-linux-x86-64.so.2 ld-linux-aarch64.so.1; do
        lib=$(ldconfig -p | sed -n "s|^\t$lib .*=> ||p" | head -n 1)
        [ -z "$lib" ] || cp -L "$lib" "$root/usr/lib64/"
    done
    ! [ -e /lib64/ld-linux-x86-64.so.2 ] || cp -L /lib64/ld-linux-x86-64.so.2 "$root/usr/lib64/"
    ! [ -e /etc/ssl/certs/ca-certificates.crt ] || cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    printf 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$root/etc/passwd"
    b umount "$c" >/dev/null
    b commit -q --rm --signature-policy "$dir/policy.json" "$c" localhost/runtime >/dev/null
}

build() {
    local cargo_home=${CARGO_HOME:-$HOME/.cargo}
    b bud --signature-policy "$dir/policy.json" --format docker --isolation chroot --pull-never -q -t localhost/dualstream \
        -v /usr:/usr:ro -v /etc/ssl:/etc/ssl:ro -v /etc/alternatives:/etc/alternatives:ro -v "$(rustc --print sysroot)":/rust:ro -v "$cargo_home":/cargo:rw \
        --build-arg BUILD_IMAGE=localhost/build --build-arg RUNTIME_IMAGE=localhost/runtime --build-arg FEATURES="${FEATURES-}" \
        --build-arg REVISION=checked . >"$dir/build.log" 2>&1 || { tail -n 30 "$dir/build.log" >&2; die "the image does not build"; }
}

# expect WHAT FOUND WANTED
expect() { [ "$2" = "$3" ] || die "$1 is '$2', not '$3'"; }

check_settings() {
    local version
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
    of() { b inspect --type image --format "{{$1}}" localhost/dualstream; }
    expect user "$(of .Docker.Config.User)" 65532:65532
    expect entrypoint "$(of .Docker.Config.Entrypoint)" '[/usr/local/bin/dualstream]'
    expect command "$(of .Docker.Config.Cmd)" '[run]'
    expect health "$(of .Docker.Config.Healthcheck.Test)" '[CMD /usr/local/bin/dualstream healthcheck --live]'
    expect version "$(of 'index .Docker.Config.Labels "org.opencontainers.image.version"')" "$version"
    expect revision "$(of 'index .Docker.Config.Labels "org.opencontainers.image.revision"')" checked
}

check_files() {
    local needed
    needed=$(readelf -d "$root/usr/local/bin/dualstream" | sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p' | sort | tr '\n' ' ')
    for lib in $needed; do
        case $lib in
            libc.so.6 | libm.so.6 | libgcc_s.so.1 | libdl.so.2 | libpthread.so.0 | librt.so.1 | ld-linux-*) ;;
            *) die "the program needs $lib, which distroless cc does not have" ;;
        esac
    done
    [ ! -e "$root/bin/sh" ] || die "there is a shell"
    expect "owner of the buffer's place" "$(stat -c %u:%g "$root/var/lib/dualstream")" 65532:65532
    say "libraries: $needed"
    say "program $(stat -c %s "$root/usr/local/bin/dualstream") bytes, image $(du -s --block-size=1 "$root" | cut -f1) bytes"
}

# as_nobody ARGUMENT...: the program on the image's root, which is read-only but for its two places.
as_nobody() {
    unshare --mount bash -c '
        set -e
        root=$1 state=$2; shift 2
        mount --bind "$root" "$root"
        mount --bind "$state/buffer" "$root/var/lib/dualstream"
        mount --bind "$state/socket" "$root/run/dualstream"
        mount -t proc none "$root/proc"
        mount -o remount,ro,bind "$root"
        exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all -- chroot --userspec=65532:65532 "$root" /usr/local/bin/dualstream "$@"
    ' as_nobody "$root" "$dir/state" "$@"
}

check_running() {
    mkdir -p "$dir"/state/{buffer,socket}
    chown 65532:65532 "$dir"/state/*
    export DUALSTREAM__INGEST__LISTEN="" DUALSTREAM__INGEST__SOCKET=/run/dualstream/ingest.sock DUALSTREAM__OPS__LISTEN="" \
        DUALSTREAM__OPS__SOCKET=/run/dualstream/ops.sock DUALSTREAM__BUFFER__DIR=/var/lib/dualstream/buffer \
        DUALSTREAM__BUFFER__MAX_BYTES=64MiB DUALSTREAM__INGEST__MAX_BODY_BYTES=1MiB DUALSTREAM__KAFKA__BROKERS=127.0.0.1:9 \
        DUALSTREAM__SHUTDOWN__GRACE=2s DUALSTREAM__LOG__FORMAT=json
    as_nobody run 2>"$dir/relay.log" &
    relay=$!
    for _ in $(seq 300); do
        as_nobody healthcheck --started >/dev/null 2>&1 && break
        kill -0 "$relay" 2>/dev/null || { cat "$dir/relay.log" >&2; die "the relay does not start"; }
        sleep 0.1
    done
    as_nobody healthcheck --live >/dev/null || die "the health check fails"
    curl -sS --fail --unix-socket "$dir/state/socket/ingest.sock" http://localhost/v1/events -H 'content-type: application/json' \
        -d '[{"type":"a","source_type":"b","source_id":"c"},{"type":"a","source_type":"b","source_id":"c"}]' >/dev/null ||
        die "it takes no events"
    local code=0
    kill -TERM "$relay"
    wait "$relay" || code=$?
    relay=
    # No Kafka: two events stay, and it says so.
    expect "exit code" "$code" 5
    grep -q '"left":2' "$dir/relay.log" || { tail -n 3 "$dir/relay.log" >&2; die "it does not tell what is left"; }
    # Both engines in one process: published, drained, notified, stopped.
    TMPDIR=/var/lib/dualstream as_nobody demo --json --events 500 --rate 500 --outage 1s || die "the demo fails in the image"
}

policy
say "bases"
make_build_base
make_runtime_base
say "build"
build
check_settings
root=$(b mount "$(b from --signature-policy "$dir/policy.json" --pull-never localhost/dualstream)")
check_files
check_running
say "ok"
