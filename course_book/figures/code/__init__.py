"""Figures of the chapter *Code*."""
