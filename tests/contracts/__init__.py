"""Laws that several implementations keep; each implementation's test file adds a fixture."""
