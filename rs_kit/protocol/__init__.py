"""Pure rules of JOSE and of proof of possession, shared by the kit, the authorization server and the agent."""
