"""The objects that the operator makes for a resource: their manifests, and how they are applied.

Here belongs a module for each kind of child, a balancer or a canary's Deployment among them: a manifest is a pure
function of the resource and the operator's configuration. May not ask pods and may not scale.
"""
