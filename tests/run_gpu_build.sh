#!/usr/bin/env bash
# Installs requirements.txt, so Paddle for CUDA, in a virtual environment of its own and runs the default tests with it:
#     bash tests/run_gpu_build.sh [folder for the environment, default .versions/gpu-build]
# A GPU is not needed: the build computes on the CPU, and tests marked `gpu` are skipped where there is no card. It takes
# about 3 GB of downloads and 8 GB of disk. PyPI's paddlepaddle-gpu 2.6.2 has wheels for Python 3.8 to 3.12; PYTHON names
# another interpreter than python3.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-.versions/gpu-build}
python=$folder/bin/python
[ -x "$python" ] || "${PYTHON:-python3}" -m venv "$folder"
"$python" -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-test.txt
"$python" -c 'import paddle; print(f"== Paddle {paddle.__version__}, for CUDA: {paddle.is_compiled_with_cuda()}," \
    f" cards: {paddle.device.cuda.device_count()}")'
"$python" -m pytest -p no:cacheprovider -n auto --dist worksteal
