"""Figures of the reference pages."""
