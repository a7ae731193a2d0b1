# anyvox on NVIDIA GPUs: PyTorch's own wheels bring CUDA, the host only needs its driver.
#
#   docker build -f docker/cuda.Dockerfile -t anyvox:cuda .
#   docker run --rm --gpus all -v "$PWD:/data" -w /data anyvox:cuda pretrain --out run --devices all
#
# Apptainer runs the same image: apptainer run --nv docker-daemon://anyvox:cuda pretrain --out run
FROM python:3.11-slim
WORKDIR /opt/anyvox
COPY pyproject.toml README.md LICENSE ./
COPY anyvox_keras anyvox_keras
RUN pip install --no-cache-dir torch==2.13.0
RUN pip install --no-cache-dir ".[torch,cluster,images]"
ENV KERAS_BACKEND=torch
ENTRYPOINT ["anyvox"]
