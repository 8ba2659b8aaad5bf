"""Arrays and records in, figures out: one module a concept, all drawn in the language of `awdlib.figures.style`."""
