"""Experiments that need several seeds. Each is a command that writes a CSV file.

A notebook runs one seed live and reads the others with ``course_book.results``.
"""
