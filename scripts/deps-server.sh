#!/usr/bin/env bash
# Builds what `make helm-server` needs, etcd and kube-apiserver of the versions in tests/helm/apiserver/go.mod, into .cache/tools/bin; says
# nothing and takes no time when both are there. From nothing: some 9 minutes of one core, 2 GB of memory and 2 GB of cache.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'deps-server: %s\n' "$*" >&2; }
bin=$PWD/.cache/tools/bin
mkdir -p "$bin"
# One at a time.
exec 9>.cache/lock-server
flock 9

# build NAME PACKAGE: what it is built from is known by the checksums of all its modules.
build() {
    local wanted
    wanted="$2 $(cat tests/helm/apiserver/go.mod tests/helm/apiserver/go.sum | sha256sum | cut -d ' ' -f 1) $(go env GOVERSION)"
    [ "$(cat ".cache/$1.made-from" 2>/dev/null)" != "$wanted" ] || [ ! -x "$bin/$1" ] || return 0
    say "building $1, which takes minutes"
    (cd tests/helm/apiserver && go build -p 2 -ldflags '-s -w' -o "$bin/$1" "$2" 2> >(grep -v '^go: downloading' >&2))
    printf '%s\n' "$wanted" >".cache/$1.made-from"
}

build etcd go.etcd.io/etcd/server/v3
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
