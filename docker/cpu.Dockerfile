# anyvox on a CPU, with one backend.
#
#   docker build -f docker/cpu.Dockerfile -t anyvox .
#   docker run --rm -v "$PWD:/data" -w /data anyvox register --fixed f.nii.gz --moving m.nii.gz --out result
#
# Apptainer runs the same image: apptainer build anyvox.sif docker-daemon://anyvox:latest
FROM python:3.11-slim
WORKDIR /opt/anyvox
COPY pyproject.toml README.md LICENSE ./
COPY anyvox_keras anyvox_keras
RUN pip install --no-cache-dir torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir ".[torch,cluster,images]"
ENV KERAS_BACKEND=torch
ENTRYPOINT ["anyvox"]
