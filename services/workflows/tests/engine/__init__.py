"""What any engine must do: definitions and events in, observed requests and run records out."""
