#!/usr/bin/env bash
# image-run.sh ROOT: runs the image whose root is mounted at ROOT as a container runtime would: process 1 of a namespace, nobody, without
# capabilities, on a read-only root, its buffer on a volume. Beside a real Kafka and a real Redis it is started, asked for its health, given
# events, stopped without Kafka, and started again. Called by image-check.sh, in a network of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$1
dir=$(mktemp -d "$PWD/.cache/image/run.XXXXXX")
kafka_libs=$(ls -d "$PWD"/.cache/kafka-*/libs)
started=()
relay=

die() { printf 'image-check: %s\n' "$*" >&2; [ ! -s "$dir/relay.log" ] || tail -n 5 "$dir/relay.log" >&2; exit 1; }
say() { printf 'image-check: %s\n' "$*"; }
expect() { [ "$2" = "$3" ] || die "$1: '$2', not '$3'"; }
finish() {
    # Bash tells of each that was killed.
    exec 2>/dev/null
    [ -z "${started[*]}" ] || kill -9 "${started[@]}" 2>/dev/null || true
    wait || true
    rm -rf "$dir"
}
trap finish EXIT

# until_true WHAT COMMAND...: waits for at most two minutes.
until_true() {
    local what=$1 end=$((SECONDS + 120))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || die "$what: not within 120 s"
        sleep 0.1
    done
}

make_kafka() {
    cat >"$dir/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9093
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/kafka
offsets.topic.replication.factor=1
num.partitions=1
END
    java=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx512m "-Dlog4j.configuration=file:$PWD/tests/kafka/log4j.properties" -cp "$kafka_libs/*")
    "${java[@]}" kafka.tools.StorageTool format -t ZHVhbHN0cmVhbS1pbWFnZQ -c "$dir/server.properties" >/dev/null
}

start_kafka() {
    "${java[@]}" kafka.Kafka "$dir/server.properties" >>"$dir/kafka.log" 2>&1 &
    kafka=$!
    started+=("$kafka")
}

# As the image and the container's definition would set it.
environment=(
    DUALSTREAM__BUFFER__DIR=/var/lib/dualstream/buffer DUALSTREAM__BUFFER__MAX_BYTES=64MiB DUALSTREAM__INGEST__MAX_BODY_BYTES=1MiB
    DUALSTREAM__INGEST__SOCKET=/run/dualstream/ingest.sock DUALSTREAM__KAFKA__BROKERS=127.0.0.1:9092 DUALSTREAM__KAFKA__COMPRESSION=none
    DUALSTREAM__REDIS__URL=redis://127.0.0.1:6379/ DUALSTREAM__SHUTDOWN__GRACE=3s DUALSTREAM__LOG__FORMAT=json
)

# start_relay: what a runtime does, by hand. The three capabilities are for chroot, and gone with the change of the user.
start_relay() {
    # shellcheck disable=SC2016 # the inner shell's
    env -i PATH="$PATH" "${environment[@]}" unshare --mount --pid --fork --kill-child bash -c '
        set -e
        root=$1 state=$2
        mount --bind "$root" "$root"
        mount --bind "$state/buffer" "$root/var/lib/dualstream"
        mount --bind "$state/socket" "$root/run/dualstream"
        mount -t proc proc "$root/proc"
        mount -o remount,ro,bind "$root"
        unset OLDPWD PWD SHLVL
        exec setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid --inh-caps=-all -- \
            chroot --userspec=65532:65532 --groups= "$root" /usr/local/bin/dualstream run
    ' relay "$root" "$dir/state" >>"$dir/relay.log" 2>&1 &
    runtime=$!
    started+=("$runtime")
    until_true "a start" is_healthy
    relay=$(child_of "$runtime")
}

child_of() { tr -d ' ' <"/proc/$1/task/$1/children"; }
in_relay() { nsenter --target "$(child_of "$runtime")" --mount --pid --root --wd=/ --setuid 65532 --setgid 65532 -- "$@"; }
# The words of the image's HEALTHCHECK.
is_healthy() {
    kill -0 "$runtime" 2>/dev/null || die "the relay has ended"
    in_relay /usr/local/bin/dualstream healthcheck --live >/dev/null 2>&1
}

# stop_relay CODE
stop_relay() {
    local code=0
    kill -TERM "$relay"
    wait "$runtime" || code=$?
    expect "exit code" "$code" "$1"
}

# as_nobody: what the process may do, by the kernel's own account.
as_nobody() {
    local status=/proc/$relay/status field
    for field in Uid Gid; do expect "$field" "$(sed -n "s/^$field:\t//p" "$status")" $'65532\t65532\t65532\t65532'; done
    for field in CapEff CapPrm CapInh CapAmb; do expect "$field" "$(sed -n "s/^$field:\t//p" "$status")" 0000000000000000; done
    expect "NoNewPrivs" "$(sed -n 's/^NoNewPrivs:\t//p' "$status")" 1
    expect "process id in the container" "$(sed -n 's/^NSpid:.*\t//p' "$status")" 1
    ! touch "/proc/$relay/root/tmp/x" 2>/dev/null || die "the root can be written to, even by root"
    expect "what is written to" "$(find "$dir/state" -mindepth 2 -maxdepth 2 -printf '%f\n' | sort | tr '\n' ' ')" "buffer ingest.sock "
}

# publish FROM TO: events with these numbers as ids, ten in a request, each of which must be accepted.
publish() {
    local number body code
    for ((number = $1; number <= $2; number += 10)); do
        body=$(seq "$number" $((number + 9)) | sed 's/.*/{"id":"image-&-","type":"t","source_type":"s","source_id":"one","payload":{"n":&}}/' | paste -sd ,)
        code=$(curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:7410/v1/events -H 'content-type: application/json' -d "[$body]") || true
        expect "the answer to an event" "$code" 202
    done
}

is_drained() { curl -sS http://127.0.0.1:7411/metrics | grep -q '^dualstream_buffer_events 0\(\.0\)\?$'; }
# kafka_has COUNT: that many ids are in the topic's files, each once.
kafka_has() { [ "$(grep -aoh 'image-[0-9]*-' "$dir"/kafka/events-0/*.log | sort -u | wc -l)" = "$1" ]; }
redis_told() { [ "$(grep -aoc 'image-[0-9]*-' "$dir/redis.log")" = "$1" ]; }

ip link set lo up
mkdir -p "$dir"/state/{buffer,socket}
chown 65532:65532 "$dir"/state/*
make_kafka
start_kafka
redis-server --bind 127.0.0.1 --save '' --dir "$dir" >/dev/null &
started+=("$!")
until_true "Redis" redis-cli ping >/dev/null 2>&1
redis-cli psubscribe 'events:*' >"$dir/redis.log" &
started+=("$!")

start_relay
as_nobody
publish 1 200
until_true "the drain" is_drained
until_true "200 events in Kafka" kafka_has 200
until_true "200 events told to Redis" redis_told 200
say "200 events in Kafka and told to Redis"

kill -9 "$kafka"
wait "$kafka" 2>/dev/null || true
publish 201 250
is_healthy || die "without Kafka it is not alive"
stop_relay 5
grep -q '"left":50[,}]' "$dir/relay.log" || die "it does not say that 50 events are left"
say "without Kafka: alive, stopped with exit code 5, 50 events on the volume"

start_kafka
start_relay
until_true "the drain" is_drained
stop_relay 0
until_true "250 events in Kafka" kafka_has 250
expect "records in Kafka" "$(grep -aoh 'image-[0-9]*-' "$dir"/kafka/events-0/*.log | wc -l)" 250
say "started again on its volume: all 250 events in Kafka, each once; exit code 0"
