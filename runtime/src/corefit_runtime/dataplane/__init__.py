"""The data plane: from a request's bytes to its answer, whatever carried them. Knows no transport, and one format.

The format is the Open Inference Protocol's JSON with binary data. A transport of another format brings its own decoding
and rendering.
"""
