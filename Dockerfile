# GCISG with everything in it: docker build -t gcisg .
# The default base serves CPUs and, since torch brings its own CUDA libraries, GPUs through NVIDIA's container toolkit.
# Another base needs apt and Python 3.10 or later: docker build --build-arg BASE=nvidia/cuda:12.8.1-runtime-ubuntu24.04 -t gcisg .
ARG BASE=python:3.12-slim
FROM ${BASE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make libgl1 libglib2.0-0 python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /gcisg
COPY . .
RUN make setup && rm -rf /root/.cache
ENV PATH=/gcisg/.venv/bin:${PATH} MPLBACKEND=Agg
ENTRYPOINT ["gcisg"]
CMD ["--help"]
