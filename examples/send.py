#!/usr/bin/env python3
"""Sends events from Python, with nothing but the standard library, and retries what may be retried.

    examples/send.py                              over TCP, to 127.0.0.1:7410
    examples/send.py /run/dualstream/ingest.sock  over the Unix socket

Needs a running relay: dualstream run --config examples/relay.toml
"""

import http.client
import json
import socket
import sys
import time
import uuid


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Refused(Exception):
    """The relay stored nothing, and would not store the same request later either."""


class Relay:
    """A connection to the relay, kept open between requests and made anew when it broke."""

    def __init__(self, socket_path=None, host="127.0.0.1", port=7410, timeout=30):
        if socket_path:
            self.connection = UnixConnection(socket_path, timeout)
        else:
            self.connection = http.client.HTTPConnection(host, port, timeout=timeout)

    def publish(self, events, ack="buffered", tries=5):
        """Stores a list of events, all or none, and returns the relay's answer.

        The ids are made here, so that an event sent twice because an answer got lost can be recognised by its consumers.
        """
        events = [{"id": str(uuid.uuid4()), **event} for event in events]
        body = "".join(json.dumps(event) + "\n" for event in events)
        for attempt in range(tries):
            pause = 2**attempt / 10
            try:
                self.connection.request("POST", f"/v1/events?ack={ack}", body.encode(), {"content-type": "application/x-ndjson"})
                response = self.connection.getresponse()
                answer = json.load(response)
            except (OSError, http.client.HTTPException):
                self.connection.close()
                if attempt + 1 == tries:
                    raise
            else:
                if response.status < 300:
                    return answer
                if response.status != 503:
                    raise Refused(json.dumps(answer, indent=2))
                # Full, or restarting: nothing was stored, and the relay says when to come back.
                pause = float(response.headers["retry-after"])
                print(f"{answer['title']}, trying again in {pause:g} s", file=sys.stderr)
            time.sleep(pause)
        raise TimeoutError(f"not accepted after {tries} tries")


def main():
    relay = Relay(socket_path=sys.argv[1] if len(sys.argv) > 1 else None)
    order = {"type": "order.created", "source_type": "user", "source_id": "42", "payload": {"order": 1, "amount": 12.5}}
    print("stored:", relay.publish([order]))
    print("in Kafka, or stored and on its way:", relay.publish([order, {**order, "type": "order.paid"}], ack="kafka"))
    try:
        relay.publish([{"type": "order.created", "source_type": "user"}])
    except Refused as refused:
        print("refused, as it should be:", refused)


if __name__ == "__main__":
    main()
