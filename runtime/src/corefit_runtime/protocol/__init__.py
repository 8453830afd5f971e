"""The Open Inference Protocol v2 as messages: bytes in, tensors out, and back. Knows no transport and no engine."""
