"""The FAPI 2.0 authorization server for agents that call tools over MCP."""
