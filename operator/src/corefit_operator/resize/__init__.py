"""CPU of running pods, changed in place (KEP-1287): which size, whether the node has room, and what came of it.

Here belongs what changes a pod's resources. May not change replicas; sizes are decided by `core`'s recommender.
"""
