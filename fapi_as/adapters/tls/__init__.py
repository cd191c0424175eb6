"""Transport security: certificates and contexts."""
