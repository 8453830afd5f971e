"""The process: the composition root, the workers, the HTTP port of health and metrics.

Here belongs what is made once a process. May not know what a reconcile does.
"""
