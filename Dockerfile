# docker build --build-arg COMMIT_SHA=$(git rev-parse HEAD) --build-arg BUILD_REF=main -t epp .
# The Python that the tests run on.
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY requirements/build.txt requirements/run.txt requirements/
RUN pip install --require-hashes -r requirements/build.txt \
 && python -m venv --without-pip /opt/epp \
 && pip --python /opt/epp/bin/python install --no-compile --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md ./
COPY epp epp
# Nothing can be written where it runs, so the byte code is made here, and never asks for its source.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && pip --python /opt/epp/bin/python install --no-compile --no-deps dist/epp-*.whl \
 && python -m compileall -q --invalidation-mode unchecked-hash /opt/epp/lib

FROM python:${PYTHON_VERSION}-slim
# The base image comes without the byte code of the standard library: 0.4 s of every start.
RUN python -m compileall -q --invalidation-mode unchecked-hash -x '/(site-packages|test|tests|idlelib)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/epp /opt/epp
ARG COMMIT_SHA=unknown
ARG BUILD_REF=unknown
ENV EPP_COMMIT=${COMMIT_SHA} EPP_BUILD_REF=${BUILD_REF} PYTHONDONTWRITEBYTECODE=1
EXPOSE 9002 9003 9090
USER 65532:65532
WORKDIR /
# The arguments of a container are the picker's flags, or `simulator` with its own.
ENTRYPOINT ["/opt/epp/bin/epp"]
