"""The objects that the operator makes for a resource: their manifests, and how they are applied.

Here belongs each kind of child; a new kind, such as a balancer, gets a module of its own. A manifest is a pure
function of the resource and the operator's configuration. May not ask pods and may not scale.
"""
