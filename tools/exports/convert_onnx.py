"""Convert an exported network by paddle2onnx: `python convert_onnx.py MODEL PARAMETERS OPSET OUT`.

`onnx_network.convert` runs it: paddle2onnx aborts its process over an operator that it does not know.
"""

import sys

import paddle2onnx

if __name__ == "__main__":
    model, parameters, opset, out = sys.argv[1:]
    # If paddle2onnx 2 writes the file itself, it also optimises, for which it pip-installs packages.
    content = paddle2onnx.export(model, parameters, opset_version=int(opset), verbose=False)
    with open(out, "wb") as file:
        file.write(content)
