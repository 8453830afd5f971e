"""`corefit inject`: puts the runtime into manifests, where a cluster can't do it at admission.

What is put in is what the operator keeps in the resource's status (asked for through kubectl), or what an
InferenceService in a file comes to. The rest of a document stays as it is; comments don't survive YAML's parsing.
"""
