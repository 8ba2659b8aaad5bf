"""Automatic checks of the chapters' exercises, one module a chapter; each returns a report with hints."""
