"""Pure OAuth and FAPI rules that more than one feature asks; no I/O, no clock, no randomness."""
