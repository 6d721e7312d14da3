# The node, and nothing that it does not run. Builds on the official Python image as well as on a base made from
# Debian's own packages (scripts/base_image.py): both have python3 with venv. What changes most stands last.
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_DEFAULT_TIMEOUT
# .rmq holds this machine's certificates, where it has some to add; a pattern, so that it need not be there.
COPY requirements.txt .rm[q] /needs/
RUN if [ -f /needs/ca/certificates.crt ]; then export PIP_CERT=/needs/ca/certificates.crt; fi \
 && python3 -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check -r /needs/requirements.txt \
 && /opt/venv/bin/python -m pip uninstall --yes --quiet pip
# The root file system is read-only at run time: compile now, and do not look at time stamps at every start.
COPY LICENSE /opt/rmq/
COPY config /opt/rmq/config
COPY app /opt/rmq/app
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/rmq

FROM ${BASE_IMAGE}
RUN groupadd --gid 10001 rmq \
 && useradd --uid 10001 --gid rmq --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin rmq \
 && mkdir /data \
 && chown rmq:rmq /data
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/rmq
VOLUME /data
EXPOSE 8000 9000
USER 10001:10001
ENTRYPOINT ["python", "-m", "app"]
CMD ["--config", "config/cluster.three.json", "--node", "0"]
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/rmq /opt/rmq
