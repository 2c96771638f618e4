"""Convert an exported network by paddle2onnx: `python convert_onnx.py MODEL PARAMETERS OPSET OUT`.

`onnx_network.convert` runs it: paddle2onnx aborts its process over an operator that it does not know.
"""

import sys


def main(model: str, parameters: str, opset: str, out: str) -> None:
    """Write the ONNX model of an exported network to `out`."""
    import paddle2onnx

    # If paddle2onnx 2 writes the file itself, it also optimises, for which it pip-installs packages.
    content = paddle2onnx.export(model, parameters, opset_version=int(opset), verbose=False)
    with open(out, "wb") as file:
        file.write(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
