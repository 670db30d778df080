# One image, every process: `kontor api`, `relay`, `worker`, `migrate`, `gateway`, `inbox`, `demo`.
FROM python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

# Dependencies first: they change rarely, and their layer is then kept.
COPY requirements.lock ./
RUN python -m pip install --require-hashes -r requirements.lock

COPY pyproject.toml README.md ./
COPY domain domain
COPY commands commands
COPY projections projections
COPY adapters adapters
COPY streams streams
COPY api api
COPY cli cli
# The build tools are in the lock, so nothing without a hash is fetched here.
RUN python -m pip install --no-build-isolation --no-deps --editable . \
 && useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin kontor \
 && mkdir /run/kontor /var/lib/kontor && chown kontor /run/kontor /var/lib/kontor

USER kontor
ENV KONTOR_HOME=/run/kontor KONTOR_HTTP_HOST=0.0.0.0 KONTOR_HTTP_PORT=8000
EXPOSE 8000
ENTRYPOINT ["kontor"]
CMD ["--help"]
