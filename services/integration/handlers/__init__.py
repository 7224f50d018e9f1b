"""What integration does when it hears or is asked something: load, decide, save, say. One module per subject."""
