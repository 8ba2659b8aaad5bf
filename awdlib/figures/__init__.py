"""Arrays and records in, figures out: one module a concept, all of them drawn in the language of :mod:`.style`."""
