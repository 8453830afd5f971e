"""The API server: connection, requests, paths, answers, the objects' parts that are read, the Lease.

Here belongs whatever knows Kubernetes' API, its field names and its status codes. May not know what a resource of
Corefit asks for, beyond its names and labels.
"""
