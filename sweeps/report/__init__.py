"""What a sweep found: `results` as data, `tables` for a terminal, `write` for files."""
