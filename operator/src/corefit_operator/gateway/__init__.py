"""The HTTPRoute by which Gateways of the Gateway API send requests to a resource's Service, and what comes of it.

Here belongs what concerns a kind that the cluster may lack: nothing watches it, it is looked at now and then.
"""
