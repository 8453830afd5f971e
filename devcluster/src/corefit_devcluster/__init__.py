"""A real Kubernetes on one machine, for the development and demo of Corefit."""
