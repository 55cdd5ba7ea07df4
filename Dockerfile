# The program alone: no compiler, no node, no test tools. Built once, run by every role (compose.yaml).

FROM python:3.11-slim-bookworm AS build
COPY --from=ghcr.io/astral-sh/uv:0.8 /uv /bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/opt/duly
WORKDIR /src
# The packages first: they change seldom.
COPY pyproject.toml uv.lock LICENSE README.md ./
RUN uv sync --locked --no-dev --no-install-project
COPY duly ./duly
RUN uv sync --locked --no-dev --no-editable

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/duly --create-home duly
COPY --from=build /opt/duly /opt/duly
ENV PATH=/opt/duly/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/duly
ENTRYPOINT ["duly"]
CMD ["--help"]
