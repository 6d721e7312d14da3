# The command `rmq`, for who has nothing installed: docker compose run --rm cli rmq cluster status
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_DEFAULT_TIMEOUT
COPY . /src/
RUN if [ -f /src/.rmq/ca/certificates.crt ]; then export PIP_CERT=/src/.rmq/ca/certificates.crt; fi \
 && python3 -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check '/src[cli]' \
 && /opt/venv/bin/python -m pip uninstall --yes --quiet pip

FROM ${BASE_IMAGE}
RUN useradd --uid 10001 --create-home rmq
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /home/rmq
USER rmq
CMD ["rmq", "--help"]
COPY --from=build /opt/venv /opt/venv
