# Airflow with this project's package, for docker-compose.yaml. Versions come from constraints.txt.

# mysqlclient has no wheel for Linux: it is compiled here, and the compiler stays behind.
FROM python:3.11-slim-bookworm AS wheels
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libmariadb-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY constraints.txt ./
RUN pip wheel --no-cache-dir --no-deps --constraint constraints.txt --wheel-dir /wheels mysqlclient

FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libmariadb3 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /build
COPY --from=wheels /wheels /wheels
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY plugins plugins
# psycopg2 and asyncpg are the drivers Airflow uses for its metadata on PostgreSQL; constraints.txt, made for SQLite,
# does not have them.
RUN pip install --no-cache-dir --constraint constraints.txt --find-links /wheels \
        . psycopg2-binary==2.9.13 asyncpg==0.32.0 \
    && rm -rf /build /wheels

ENV AIRFLOW_HOME=/opt/airflow
# A named volume takes over the owner of the folder it covers.
RUN useradd --uid 50000 --gid 0 --home-dir /opt/airflow --create-home airflow \
    && mkdir -p /opt/airflow/dags /opt/airflow/include /opt/airflow/plugins \
        /opt/airflow/logs /opt/airflow/data /opt/airflow/auth \
    && chown -R airflow:0 /opt/airflow
USER airflow
WORKDIR /opt/airflow
CMD ["airflow", "version"]
