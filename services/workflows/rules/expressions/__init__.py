"""CEL: the engines behind one interface, what expressions may name, and what bounds them."""
