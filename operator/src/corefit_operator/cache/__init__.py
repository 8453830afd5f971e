"""What the operator knows of the cluster: the informer's cache, and what keeps it true.

Here belongs what fills, compares or re-reads the cache of objects. May not write to the cluster and may not decide
what is done about a change. Imports `kube` and `concurrency` only.
"""
