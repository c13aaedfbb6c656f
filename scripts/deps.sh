#!/usr/bin/env bash
# Fetches what building and testing need and this machine lacks; says nothing and takes no time when all is here.
#   tools     a C compiler, make, perl, pkg-config (librdkafka); Java 17, Maven, Redis, strace, mkfs.ext4 (the
#             integration tests); Python (make mutants)
#   Kafka     .cache/kafka-<version>/libs, the jars of tests/kafka/pom.xml
#   cargo-deny  .cache/tools, unless it is installed
set -euo pipefail
cd "$(dirname "$0")/.."
export DEBIAN_FRONTEND=noninteractive

say() { printf 'deps: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

java_is_recent() {
    have java || return 1
    local major
    major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    [ "${major:-0}" -ge 17 ]
}

missing_packages() {
    java_is_recent || echo default-jre-headless
    have mvn || echo maven
    have redis-server || echo redis-server
    have gcc || echo gcc libc6-dev
    have g++ || echo g++
    have make || echo make
    have perl || echo perl
    have pkg-config || echo pkg-config
    have setpriv || echo util-linux
    have strace || echo strace
    have mkfs.ext4 || [ -x /usr/sbin/mkfs.ext4 ] || echo e2fsprogs
    have python3 || echo python3
    have openssl || echo openssl
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo -n "$@" || die "sudo asks for a password; run this by hand: $*"
    else
        die "this needs root, and there is no sudo; run as root: $*"
    fi
}

install_packages() {
    local packages
    packages=$(missing_packages | tr '\n' ' ')
    [ -n "$packages" ] || return 0
    have apt-get || die "not a Debian system: please install what these packages contain: $packages"
    say "installing $packages"
    as_root apt-get update -qq
    # shellcheck disable=SC2086 # one word per package
    as_root apt-get install -y -qq --no-install-recommends $packages >/dev/null
    java_is_recent || die "java is still older than 17: $(java -version 2>&1 | head -n 1)"
}

fetch_kafka() {
    local pom=tests/kafka/pom.xml version folder
    version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$pom")
    folder=.cache/kafka-$version
    fetch_jars "$pom" "$folder"
    scripts/kafka-classes.sh "$folder" || say "no class archive: Kafka will start more slowly"
}

# fetch_jars POM FOLDER: all of them or none; the marker says which pom they belong to.
fetch_jars() {
    local wanted part
    wanted=$(cksum <"$1")
    [ "$(cat "$2/libs/.complete" 2>/dev/null)" != "$wanted" ] || return 0
    say "fetching $(basename "$2")"
    part=$(mktemp -d .cache/part.XXXXXX)
    mvn -q -B -Dmaven.wagon.http.retryHandler.count=3 -f "$1" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$PWD/$part/libs" </dev/null 2>&1 | strip_colours ||
        { rm -rf "$part"; die "Maven could not fetch Kafka's jars; the integration tests need them"; }
    echo "$wanted" >"$part/libs/.complete"
    chmod 755 "$part"
    rm -rf "$2"
    mv "$part" "$2"
}

# Maven resets the terminal's colours even when it prints nothing.
strip_colours() { sed $'s/\x1b\\[[0-9;]*m//g; /^$/d' >&2; }

fetch_cargo_deny() {
    PATH="$PWD/.cache/tools/bin:$PATH"
    ! have cargo-deny || return 0
    say "building cargo-deny (once, some minutes)"
    # Unoptimised: it is built more often than its half second of work repays.
    cargo install -q --debug --locked cargo-deny --version '^0.20' --root .cache/tools ||
        die "cargo-deny could not be built; 'make deny' needs it"
}

have cargo || die "cargo is missing: install Rust (rustup.rs), at least the rust-version in Cargo.toml"
mkdir -p .cache
install_packages
# One at a time: two runs at once would fetch the same things twice.
exec 9>.cache/lock
flock 9
fetch_kafka
fetch_cargo_deny
