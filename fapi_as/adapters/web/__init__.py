"""The web side: bytes to `EndpointRequest`, `EndpointResponse` to bytes, pages and their layout."""
