#!/usr/bin/env bash
# Fetches what `make helm-check` needs; says nothing and takes no time when all is here. Pinned: tests/helm/go.mod, and below.
#   helm3, helm4   .cache/tools/bin, built from tests/helm
#   promtool       .cache/tools/bin, out of Debian's package, which is not installed
#   schemas        .cache/k8s-schemas: of Kubernetes from a Python package, of the Prometheus operator from its Go module
set -euo pipefail
cd "$(dirname "$0")/.."

schemas=kubernetes-validate==1.37.0
versions="1.29.0 1.33.0 1.37.0"
operator=github.com/prometheus-operator/prometheus-operator@v0.85.0

say() { printf 'deps-k8s: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# is_current NAME WANTED: whether what NAME marks was made from WANTED.
is_current() { [ "$(cat ".cache/$1.made-from" 2>/dev/null)" = "$2" ]; }
mark() { printf '%s\n' "$2" >".cache/$1.made-from"; }

build_helm() {
    local major wanted
    for major in 3 4; do
        wanted=$(cd tests/helm && go list -m -f '{{.Version}}' "helm.sh/helm/v$major")
        ! { is_current "helm$major" "$wanted" && [ -x ".cache/tools/bin/helm$major" ]; } || continue
        say "building helm $wanted"
        (cd tests/helm && go build -ldflags '-s -w' -o "../../.cache/tools/bin/helm$major" "helm.sh/helm/v$major/cmd/helm" 2> >(grep -v '^go: downloading' >&2))
        mark "helm$major" "$wanted"
    done
}

fetch_promtool() {
    [ ! -x .cache/tools/bin/promtool ] || return 0
    if have promtool; then
        ln -s "$(command -v promtool)" .cache/tools/bin/promtool
        return 0
    fi
    have apt-get && have dpkg-deb || die "not a Debian system: please install promtool (of Prometheus)"
    say "fetching promtool"
    local part
    part=$(mktemp -d .cache/part.XXXXXX)
    (cd "$part" && { apt-get download -qq prometheus 2>/dev/null || { as_root apt-get update -qq && apt-get download -qq prometheus; }; } 2>/dev/null) ||
        { rm -rf "$part"; die "Debian's package prometheus could not be fetched; it holds promtool"; }
    dpkg-deb --fsys-tarfile "$part"/prometheus_*.deb | tar -x -C "$part" ./usr/bin/promtool ./usr/bin/prometheus
    mv "$part/usr/bin/promtool" "$part/usr/bin/prometheus" .cache/tools/bin/
    rm -rf "$part"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif have sudo; then sudo -n "$@"; else return 1; fi
}

fetch_schemas() {
    local wanted="$schemas $versions $operator" part
    ! is_current k8s-schemas "$wanted" || return 0
    say "fetching schemas"
    part=$(mktemp -d .cache/part.XXXXXX)
    python3 -m pip download -q --disable-pip-version-check --no-deps -d "$part" "$schemas" 2>/dev/null ||
        { rm -rf "$part"; die "the Python package $schemas could not be fetched (python3 with pip); it holds the schemas of Kubernetes"; }
    # shellcheck disable=SC2086 # one word per version
    python3 scripts/k8s-schemas.py "$part"/kubernetes_validate-*.whl "$part/schemas" $versions
    crds=$(cd tests/helm && go mod download -json "$operator" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')/example/prometheus-operator-crd
    mkdir "$part/schemas/crds"
    cp "$crds"/monitoring.coreos.com_{podmonitors,prometheusrules}.yaml "$part/schemas/crds/"
    chmod -R u+w "$part/schemas"
    rm -rf .cache/k8s-schemas
    mv "$part/schemas" .cache/k8s-schemas
    rm -rf "$part"
    mark k8s-schemas "$wanted"
}

have go || die "go is missing: the checks of the Helm chart need the version that tests/helm/go.mod names"
have python3 || die "python3 is missing: the checks of the Helm chart fetch schemas with its pip"
mkdir -p .cache/tools/bin
# One at a time: two runs at once would fetch the same things twice.
exec 9>.cache/lock-k8s
flock 9
fetch_promtool
fetch_schemas
build_helm
