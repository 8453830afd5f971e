"""The HTTP/1.1 server: connections, their limits, and messages as bytes. Knows no routes, no models and no tensors."""
