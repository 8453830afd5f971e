"""How figures and Events leave the operator: the Prometheus registry and the recorder.

Here belongs the way out. May not know what a reconcile found: `status` says what is published.
"""
