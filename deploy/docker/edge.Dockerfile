# The agent for a village box that runs containers. Host networking is needed for WS-Discovery.
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/qianshao
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY models models
COPY hub hub
COPY edge_agent edge_agent
RUN pip install --no-cache-dir --constraint constraints.txt ".[edge]" && useradd --system --home /data qianshao && install -d -o qianshao /data
USER qianshao
VOLUME /data
ENV QIANSHAO_EDGE_DATA_DIR=/data
CMD ["qianshao-edge", "run"]
