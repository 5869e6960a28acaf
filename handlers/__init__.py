"""What AWS Lambda calls: a module for each source of events, with a function `handler`."""
