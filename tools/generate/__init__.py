"""What is derived from the contracts and the settings, written into the tree and compared by the gate."""
