#!/usr/bin/env bash
# kafka-classes.sh FOLDER: lets a broker from FOLDER/libs run once and keeps its loaded classes in an archive there. A
# test's broker then starts in half the time, and the tests start many. Another Java ignores the archive.
set -euo pipefail
cd "$(dirname "$0")/.."

libs=$PWD/$1/libs
archive=$1/classes.jsa
[ ! -e "$archive" ] || exit 0

dir=$(mktemp -d)
trap 'kill -9 "${broker:-}" 2>/dev/null || true; rm -rf "$dir"' EXIT
port=$((20000 + $$ % 10000))
cat >"$dir/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$port
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$((port + 1)),CONTROLLER://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
EOF
java=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx512m "-Dlog4j.configuration=file:$PWD/tests/kafka/log4j.properties")
"${java[@]}" -cp "$libs/*" kafka.tools.StorageTool format -t ZHVhbHN0cmVhbS10ZXN0cw -c "$dir/server.properties" >/dev/null
"${java[@]}" -XX:ArchiveClassesAtExit="$dir/classes.jsa" -cp "$libs/*" kafka.Kafka "$dir/server.properties" >"$dir/log" 2>&1 &
broker=$!
for _ in $(seq 300); do
    # Listening: it has loaded what a start needs. The archive is written when it ends.
    if (exec 3<>"/dev/tcp/127.0.0.1/$((port + 1))") 2>/dev/null; then break; fi
    kill -0 "$broker" 2>/dev/null || break
    sleep 0.1
done
sleep 1
kill "$broker" 2>/dev/null || true
wait "$broker" || true
[ -s "$dir/classes.jsa" ] || { tail -n 5 "$dir/log" >&2; exit 1; }
chmod 644 "$dir/classes.jsa"
cp "$dir/classes.jsa" "$archive.part"
mv "$archive.part" "$archive"
