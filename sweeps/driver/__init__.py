"""Ray: one sweep driven through Tune, with the journal as its only memory."""
