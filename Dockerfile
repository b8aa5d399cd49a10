# The image of every Posterion process: one container alone, a node of a Ray cluster, the trainer.
#
#   docker build -t posterion .                                    # or: buildah bud -t posterion .
#   docker run --rm --read-only --tmpfs /tmp --cap-drop ALL -p 127.0.0.1:8000:8000 posterion
#
# BASE_IMAGE is any Debian-like image with python3 >= 3.11, venv and pip: /usr/bin/python3 of
# plain Debian will do as well as the /usr/local one of the official Python image.
# torch comes from the index pip is pointed at; the one pip_conf may name decides between a CPU
# and a CUDA build, both of which run the same code:
#   docker build --secret id=pip_conf,src=pip.conf -t posterion .
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_PROGRESS_BAR=off
RUN python3 -m venv /opt/posterion
WORKDIR /src
# Dependencies change rarely and are large: resolve them from the metadata alone, so that an
# edit of the source reuses this layer. The empty packages stand in for what the next step copies.
COPY pyproject.toml README.md LICENSE ./
COPY .ci/constraints.txt .ci/constraints.txt
COPY clients/python/pyproject.toml clients/python/README.md clients/python/
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    mkdir -p service/posterion model_store/posterion_store clients/python/src/posterion_client \
    && touch service/posterion/__init__.py model_store/posterion_store/__init__.py \
        clients/python/src/posterion_client/__init__.py \
    && /opt/posterion/bin/pip install -c .ci/constraints.txt . ./clients/python
COPY service service
COPY model_store model_store
COPY clients/python clients/python
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/posterion/bin/pip install --no-deps --force-reinstall . ./clients/python

FROM ${BASE_IMAGE}
# The number, not a name: runAsNonRoot can only be checked for a number.
ARG UID=10001
RUN mkdir -p /var/lib/posterion && chown ${UID}:${UID} /var/lib/posterion
COPY --from=build /opt/posterion /opt/posterion
# The root file system is read-only in the cluster: everything that a process writes on its own
# account (Ray's sessions, HAProxy's socket, caches) goes to /tmp, which is a memory-backed mount.
# LOGNAME because the number has no entry in /etc/passwd, and torch asks who it runs as.
ENV PATH=/opt/posterion/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    LOGNAME=posterion \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_ENABLE_UV_RUN_RUNTIME_ENV=0
WORKDIR /var/lib/posterion
USER ${UID}:${UID}
EXPOSE 8000
# Ready, not merely alive: the container counts as healthy once predictions work.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["posterion"]
# 0.0.0.0 because a published port reaches the container's address, not its loopback; which
# address of the host it is published on stays the operator's choice. --in-process because Ray
# would open ports on every interface for a second process that one container does not have; in
# the cluster KubeRay replaces this command by its own `ray start`.
CMD ["serve", "--host", "0.0.0.0", "--in-process"]
