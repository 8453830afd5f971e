"""What has the pods of a resource and is scaled: a Deployment of its own, or a workload of others (mode Sidecar).

Here belongs what differs between the two, and between them and kinds to come, such as a canary next to its stable pods.
May not decide replicas.
"""
