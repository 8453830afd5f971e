"""The inference port: the Open Inference Protocol v2 over HTTP."""
