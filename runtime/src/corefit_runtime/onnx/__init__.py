"""ONNX files, read without onnxruntime and without copying weights. Decides nothing."""
