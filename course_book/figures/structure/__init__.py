"""Figures of the chapter *Structure*."""
