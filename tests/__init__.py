"""What needs more than one service, or looks at the house as a whole."""
