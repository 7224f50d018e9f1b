"""Services that only pretend, to test what runs services: each takes the settings and verbs that a real one takes."""
