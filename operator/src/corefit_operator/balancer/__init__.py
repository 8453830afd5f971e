"""One queue in front of the pods of a service: HAProxy, its manifests, and whether it or the Service balances.

May not write: `children.apply` does. May not ask pods or balancers.
"""
