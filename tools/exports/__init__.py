"""The parts of an export: the static network, and the same for ONNX Runtime."""
