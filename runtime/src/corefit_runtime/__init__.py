"""The Corefit runtime: serves ONNX within the cores it is granted."""
