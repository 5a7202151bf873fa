# SPDX-License-Identifier: MIT
# srv in a small image; compose.yml plays the playgrounds with it.
FROM debian:bookworm-slim AS build
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        gcc libc6-dev meson ninja-build pkg-config \
        libevent-dev libjansson-dev libpq-dev libcurl4-openssl-dev libssl-dev zlib1g-dev libbrotli-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN meson setup /build --buildtype=release -Dtests=false -Dstrip=true --prefix=/usr/local \
    && ninja -C /build \
    && install -D -s /build/cmd/srv /image/srv

FROM debian:bookworm-slim
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        libevent-core-2.1-7 libevent-extra-2.1-7 libjansson4 libpq5 libcurl4 libssl3 zlib1g libbrotli1 procps openssl \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 65534 -g 65534 /certificates
COPY --from=build /image/srv /usr/local/bin/srv
USER 65534:65534
# The load generator asks the server; HEALTH_URL says which. HEALTH_PATH is answered without a call of the upstream.
ENV HEALTH_PATH=/healthz HEALTH_URL=http://127.0.0.1:3000/healthz
HEALTHCHECK --interval=2s --timeout=5s --retries=15 CMD ["sh", "-c", "srv bench -q -n 1 -s 3 --expect-status 200 \"$HEALTH_URL\" >/dev/null || exit 1"]
ENTRYPOINT ["srv"]
CMD ["serve", "--bind", ":3000"]
