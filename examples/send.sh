#!/bin/sh
# Sends events with curl, in every format the relay reads. Needs a running relay: dualstream run --config examples/relay.toml
#
#   examples/send.sh                              over TCP, to 127.0.0.1:7410
#   examples/send.sh /run/dualstream/ingest.sock  over the Unix socket
#
# Stops at the first request that is not accepted.
set -eu

address=${DUALSTREAM_INGEST:-http://127.0.0.1:7410}
socket=${1:-}

# post WHAT QUERY [curl arguments…]
post() {
    what=$1
    query=$2
    shift 2
    # Not --fail-with-body, which older curls lack: the body of a refusal says what is wrong, so it is shown before giving up.
    reply=$(curl --silent --show-error ${socket:+--unix-socket "$socket"} --write-out ' (%{http_code})' "$@" "$address/v1/events$query")
    printf '%s\n  %s\n' "$what" "$reply"
    case $reply in *'(2'??')') ;; *) exit 1 ;; esac
}

post 'One event; the relay makes its id and time, and tells the id' '' \
    --header 'content-type: application/json' \
    --data '{"type":"order.created","source_type":"user","source_id":"42","payload":{"order":1,"amount":12.5}}'

post 'An array: all of it is stored, or none' '' \
    --header 'content-type: application/json' \
    --data '[{"id":"order-2","type":"order.created","source_type":"user","source_id":"42","payload":{"order":2}},
             {"id":"order-2-paid","type":"order.paid","source_type":"user","source_id":"42","time":"2026-01-02T03:04:05Z"}]'

# --data would take the line ends out.
printf '%s\n' \
    '{"type":"push","source_type":"repo","source_id":"owner/name","payload":{"commits":3}}' \
    '{"type":"push","source_type":"repo","source_id":"owner/other","payload":{"commits":1}}' |
    post 'NDJSON: an event per line' '' \
        --header 'content-type: application/x-ndjson' \
        --data-binary @-

post 'A CloudEvent; the source /user/42 is the source_type user and the source_id 42' '' \
    --header 'content-type: application/cloudevents+json' \
    --data '{"specversion":"1.0","id":"ce-1","type":"order.created","source":"/user/42","data":{"order":3}}'

post 'A batch of CloudEvents' '' \
    --header 'content-type: application/cloudevents-batch+json' \
    --data '[{"specversion":"1.0","id":"ce-2","type":"order.created","source":"/user/42","data":{"order":4}},
             {"specversion":"1.0","id":"ce-3","type":"order.created","source":"/user/43","data":{"order":5}}]'

post 'A CloudEvent in binary mode: attributes are headers, the body is the data' '' \
    --header 'ce-specversion: 1.0' --header 'ce-id: ce-4' --header 'ce-type: note.written' --header 'ce-source: /user/42' \
    --header 'content-type: text/plain' \
    --data 'any text, or any bytes'

post 'With a trace, which goes along to Kafka' '' \
    --header 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' \
    --header 'content-type: application/json' \
    --data '{"type":"order.created","source_type":"user","source_id":"42"}'

post 'Waiting for Kafka, up to 3 seconds: 200 with the offset, or 202 if it takes longer' '?ack=kafka&timeout=3s' \
    --header 'content-type: application/json' \
    --data '{"type":"order.created","source_type":"user","source_id":"42"}'
