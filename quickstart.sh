#!/usr/bin/env bash
# From nothing to a labelled video: environment, sample data, frames, records, lists, training, test, prediction.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh
prepare_environment

ROOT=data/samples
OUT=output/quickstart
run() { echo; echo "\$ python $*"; "$PYTHON" "$@"; }

run tools/make_samples.py --root $ROOT
run avi2jpg.py --root $ROOT
run jpg2pkl.py --root $ROOT
run data_list_gener.py --root $ROOT
run train.py configs/quickstart.txt --root $ROOT --save_dir $OUT --resume auto
run test.py --weights $OUT/resnet_model --out $OUT/result.json
VIDEO=$(find $ROOT/UCF-101 -name '*_g01_c01.avi' | sort | head -n 1)
run predict.py --weights $OUT/resnet_model --input "$VIDEO" --save_dir $OUT/predict

"$PYTHON" - "$OUT" <<'PY'
import glob, json, os, shutil, sys
out = sys.argv[1]
visualdl = "visualdl" if shutil.which("visualdl") else os.path.relpath(os.path.join(sys.prefix, "bin", "visualdl"))
python = os.path.relpath(sys.executable) if ".venv" in sys.executable else "python"
summary = json.load(open(f"{out}/result.json", encoding="utf-8"))["summary"]
print(f"""
Done. On sample data, made by tools/make_samples.py:
  accuracy on held-out groups  {100 * summary['top1']:.1f}% of {summary['num_samples']} videos (chance {100 * summary['chance']:.1f}%)
  training curves              {out}/vdl; to see them: {visualdl} --logdir {out}/vdl
  report                       {out}/resnet_model_test_report.html
  labelled video               {glob.glob(f'{out}/predict/*.webm')[0]}
  picture                      {glob.glob(f'{out}/predict/*.png')[0]}
  try it in a browser          {python} app.py --weights {out}/resnet_model (needs {python} -m pip install -r requirements-app.txt)""")
PY
