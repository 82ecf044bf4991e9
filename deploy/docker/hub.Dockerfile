# Page first (Node), then the hub. No torch, no OpenCV: the hub never opens a frame.
FROM node:22-slim AS page
WORKDIR /src/hub/web/ui
COPY hub/web/ui/package.json hub/web/ui/package-lock.json hub/web/ui/.npmrc ./
RUN npm install --no-save --no-audit --no-fund
COPY hub/web/ui ./
RUN npm run build

FROM python:3.12-slim
WORKDIR /opt/qianshao
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY models models
COPY edge_agent edge_agent
COPY hub hub
COPY --from=page /src/hub/web/static hub/web/static
RUN pip install --no-cache-dir --constraint constraints.txt ".[hub]" && useradd --system --home /data qianshao && install -d -o qianshao /data
USER qianshao
VOLUME /data
EXPOSE 8420
CMD ["qianshao-hub", "serve"]
