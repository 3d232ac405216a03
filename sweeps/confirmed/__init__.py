"""What a confirmation found, computed from the journal alone; `found.confirmation_of` gives it."""
