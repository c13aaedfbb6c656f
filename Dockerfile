# syntax=docker/dockerfile:1
# The image of the relay: docker build --tag dualstream .
#
# Bases are arguments, so that another registry, or images that were made at home, can take their place. Builder and runtime are of the
# same Debian: the program needs the builder's glibc or a newer one.
ARG BUILD_IMAGE=docker.io/library/rust:1-trixie
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian13:nonroot

FROM ${BUILD_IMAGE} AS build
# TLS and SASL towards Kafka are part of the image; FEATURES= leaves them out and builds minutes faster.
ARG FEATURES=kafka-tls
# zlib goes into the program, too: where the builder has its headers, it would be taken from the system, and the runtime need not have it.
ENV LIBZ_SYS_STATIC=1
WORKDIR /src
# Dependencies in a layer of their own, which stays while only the source changes. Tests and benches are not part of the image, so they
# go out of the manifest, too.
COPY Cargo.toml Cargo.lock ./
RUN sed -i '/^\[\[\(test\|bench\|example\)\]\]/,/^$/d' Cargo.toml \
    && mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --locked --release --bin dualstream --features "${FEATURES}"
# `dualstream inject` has the sidecar built in.
COPY kustomize/dualstream/sidecar.yaml kustomize/dualstream/sidecar.yaml
COPY src src
# Newer than the stand-ins, or cargo would keep what it built of them.
RUN touch src/main.rs src/lib.rs \
    && cargo build --locked --release --bin dualstream --features "${FEATURES}" \
    && strip --strip-debug target/release/dualstream \
    && mkdir /empty
COPY scripts/sbom.py scripts/sbom.py
RUN scripts/sbom.py --features "${FEATURES}" --target "$(rustc -vV | sed -n 's/^host: //p')" --out dualstream.cdx.json

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="dualstream" \
      org.opencontainers.image.description="A sidecar that gives any application dual-stream publishing: Kafka for what must not be lost, Redis Pub/Sub for what must be seen now" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /src/target/release/dualstream /usr/local/bin/dualstream
# What it is built from, for scanners.
COPY --from=build /src/dualstream.cdx.json /usr/share/doc/dualstream/dualstream.cdx.json
# The places of the buffer and of sockets: a volume that is mounted there for the first time takes their owner.
COPY --from=build --chown=65532:65532 /empty /var/lib/dualstream
COPY --from=build --chown=65532:65532 /empty /run/dualstream
USER 65532:65532
ENV DUALSTREAM__BUFFER__DIR=/var/lib/dualstream/buffer
STOPSIGNAL SIGTERM
# Live, not ready: a full buffer is no reason to restart.
HEALTHCHECK --interval=10s --timeout=3s --start-period=2m --retries=3 CMD ["/usr/local/bin/dualstream", "healthcheck", "--live"]
ENTRYPOINT ["/usr/local/bin/dualstream"]
CMD ["run"]
