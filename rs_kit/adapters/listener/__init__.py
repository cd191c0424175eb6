"""The parts of the listener; `rs_kit.adapters.hypercorn` puts them together and is what others import."""
