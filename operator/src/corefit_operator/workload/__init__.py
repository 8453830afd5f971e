"""The workload that a resource scales: a Deployment of its own, or a workload of others (mode Sidecar).

Here belongs what differs between the two. A resource has exactly one workload, with one scale target and one number of
replicas. May not decide replicas.
"""
