"""Tasks, queues, turns and pauses: asyncio, and nothing of Kubernetes or of Corefit.

Here belongs what another program could use as it is. May not import any other package of the operator.
"""
