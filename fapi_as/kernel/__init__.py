"""What every request goes through; knows no capability by name."""
