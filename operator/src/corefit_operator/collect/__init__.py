"""What the pods say: reports, calls for attention, and what follows from several reports of one pod.

Here belongs every request to a pod. May not know what a resource asks for and may not decide anything.
"""
